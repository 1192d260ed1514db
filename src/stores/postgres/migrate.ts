import { OpenError } from '../../base/errors.ts'
import type { Connections } from './connection.ts'
import type { Session } from './session.ts'
import { asOpenError } from './errors.ts'
import { literal, migrationSql, VERSION } from './schema.ts'

/** What was found in the place of a store. */
interface Found {
  /** Whether the schema exists; it may be empty. */
  readonly isThere: boolean
  /** 0: it holds no store. */
  readonly version: number
  readonly identity: string | undefined
}

/** What a migration did, or would do. */
export interface Migration {
  /** The version that the schema had; 0: it held no store. */
  readonly from: number
  readonly to: number
  /** Its statements, in order; empty if the schema is up to date. */
  readonly statements: readonly string[]
}

/**
 * Makes sure that the schema exists and that this code can use it.
 *
 * `mayMigrate`: it may be made, or brought up to date. `notesHorizon`: it needs the right to note the horizon for standbys.
 *
 * @returns the store's identity.
 * @throws OpenError, StoreUnavailableError
 */
export async function openSchema(
  connections: Connections,
  quoted: string,
  { mayMigrate, notesHorizon }: { readonly mayMigrate: boolean; readonly notesHorizon: boolean },
): Promise<string> {
  try {
    return await connections.use(async (session) => {
      await checkServer(session)
      let found = await look(session, quoted)
      if (found.version < VERSION && mayMigrate) {
        await migrateOn(session, quoted)
        found = await look(session, quoted)
      }
      if (found.version < VERSION || found.identity === undefined) {
        const has = found.version === 0 ? 'holds no store' : `has version ${String(found.version)}`
        const message = `the schema ${quoted} ${has}, this version of Mneme needs version ${String(VERSION)}: run migrate()`
        throw new OpenError(found.version === 0 ? 'no-store' : 'outdated-schema', message)
      }
      await checkSequence(session, quoted)
      if (notesHorizon) await checkHorizon(session, quoted)
      return found.identity
    })
  } catch (error) {
    throw asOpenError(error)
  }
}

/** Brings a schema up to date, or only says how. @throws OpenError, StoreUnavailableError */
export async function migrateSchema(
  connections: Connections,
  quoted: string,
  isDry: boolean,
): Promise<Migration> {
  try {
    return await connections.use(async (session) => {
      await checkServer(session)
      if (!isDry) return migrateOn(session, quoted)
      const { version, isThere } = await look(session, quoted)
      return {
        from: version,
        to: Math.max(version, VERSION),
        statements: migrationSql(quoted, version, isThere),
      }
    })
  } catch (error) {
    throw asOpenError(error)
  }
}

/** Migrates in one transaction under a lock: one of several processes does it, and the others find it done. */
async function migrateOn(session: Session, quoted: string): Promise<Migration> {
  const run = (text: string) => session.query({ name: '', text })
  await run('BEGIN ISOLATION LEVEL READ COMMITTED')
  try {
    await run(`SELECT pg_advisory_xact_lock(hashtextextended(${literal(`mneme ${quoted}`)}, 0))`)
    const { version, isThere } = await look(session, quoted)
    const statements = migrationSql(quoted, version, isThere)
    for (const statement of statements) await run(statement)
    await run('COMMIT')
    return { from: version, to: Math.max(version, VERSION), statements }
  } catch (error) {
    if (!session.broken) await run('ROLLBACK')
    throw error
  }
}

async function look(session: Session, quoted: string): Promise<Found> {
  const ask = (text: string) => session.query({ name: '', text })
  const name = literal(quoted)
  // Opening a table makes the server notice what other processes have just made.
  const [there] = await ask(
    `SELECT to_regnamespace(${name}) IS NOT NULL, to_regclass(${literal(`${quoted}.meta`)}) IS NOT NULL
      FROM pg_catalog.pg_namespace LIMIT 1`,
  )
  const isThere = there![0] === 't'
  if (there![1] !== 't') return { isThere, version: 0, identity: undefined }
  const rows = await ask(`SELECT name, value FROM ${quoted}.meta`)
  const meta = new Map(rows.map(([key, value]) => [key, value]))
  const version = Number(meta.get('schema'))
  if (!Number.isSafeInteger(version) || version < 1) {
    throw new OpenError(
      'failed',
      `the schema ${quoted} has a table "meta" that Mneme did not make: choose another schema`,
    )
  }
  if (Number(meta.get('compatible')) > VERSION) {
    const message = `the schema ${quoted} has version ${String(version)}, this version of Mneme knows up to ${String(VERSION)}`
    throw new OpenError('newer-schema', `${message}: upgrade Mneme`)
  }
  return { isThere, version, identity: meta.get('identity') ?? undefined }
}

async function checkServer(session: Session): Promise<void> {
  const [row] = await session.query({
    name: '',
    text: "SELECT current_setting('server_version_num'), current_setting('server_encoding')",
  })
  const [version, encoding] = row!
  if (Number(version) < MIN_SERVER_VERSION) {
    throw new OpenError(
      'failed',
      'the server is older than PostgreSQL 14, the oldest version that Mneme supports: upgrade it',
    )
  }
  if (encoding !== 'UTF8') {
    throw new OpenError(
      'failed',
      `the database has the encoding ${encoding ?? ''}, and events need UTF8: use another database`,
    )
  }
}

/** Refuses a copy that lacks the sequence's value: it would give out positions again. */
async function checkSequence(session: Session, quoted: string): Promise<void> {
  const [row] = await session.query({
    name: '',
    text: `SELECT pg_is_in_recovery(), pg_sequence_last_value(${literal(`${quoted}.positions`)}),
      (SELECT position >> 16 FROM ${quoted}.events ORDER BY position DESC LIMIT 1)`,
  })
  const [isStandby, drawn, last] = row!
  if (isStandby === 't') return
  if (drawn === null) {
    throw new OpenError(
      'access-denied',
      `the role has no SELECT or USAGE on the sequence ${quoted}.positions: grant it`,
    )
  }
  if (Number(drawn) >= Number(last)) return
  const message =
    `the sequence ${quoted}.positions is behind the events, as after a restore that left it out; run ` +
    `SELECT setval('${quoted}.positions', (SELECT max(position) >> 16 FROM ${quoted}.events))`
  throw new OpenError('failed', message)
}

async function checkHorizon(session: Session, quoted: string): Promise<void> {
  const [row] = await session.query({
    name: '',
    text: `SELECT pg_is_in_recovery() OR has_table_privilege(${literal(`${quoted}.horizon`)}, 'UPDATE')`,
  })
  if (row?.[0] === 't') return
  throw new OpenError(
    'access-denied',
    `the role has no UPDATE on ${quoted}.horizon, which standbys: true needs: grant it`,
  )
}

/** PostgreSQL 14. */
const MIN_SERVER_VERSION = 140_000
