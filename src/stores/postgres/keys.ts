import { checkBoolean, checkOptions, checkTimer } from '../../base/arguments.ts'
import type { KeyEntry, KeyStore, Tombstone, WrappedKey } from '../../adapter/key-store.ts'
import { OpenError } from '../../base/errors.ts'
import { FirstUse } from '../../base/first-use.ts'
import { Connections } from './connection.ts'
import type { PostgresConfig, PostgresPool } from './driver.ts'
import { poolOf } from './options.ts'
import { literal, quoteSchema } from './schema.ts'
import type { Parameter, Row } from './wire.ts'

/** Options of {@link postgresKeys}. */
export interface PostgresKeysOptions {
  /** The schema that holds the keys, and no events; made if missing. Default: `'mneme_keys'`. */
  readonly schema?: string | undefined
  /** Whether the schema and its table may be made. With `false` they have to be there. Default: `true`. */
  readonly migrate?: boolean | undefined
  /** Milliseconds to wait for a connection. Default: 10,000 ms. */
  readonly connectTimeout?: number | undefined
  /** Milliseconds to wait for the server's answer. Default: 30,000 ms. */
  readonly statementTimeout?: number | undefined
}

/** A key store in PostgreSQL. */
export interface PostgresKeys extends KeyStore {
  /** Ends its connections. Close the stores that use it before. */
  close(): Promise<void>
}

/**
 * Keeps the keys of subjects in a PostgreSQL database, for `keyRing` of `mneme/erasure`, in a schema of its own. Use another
 * database than that of the events, with another backup: one dump must not hold both. It connects at the first use.
 *
 * @param connection a URL, the options of a `pg.Pool`, or a `pg.Pool`, which `close` then leaves open.
 * @throws InvalidArgumentError
 * @example
 * ```ts
 * const keys = postgresKeys('postgres://keys@vault/keys')
 * ```
 */
export function postgresKeys(
  connection: string | PostgresConfig | PostgresPool,
  options: PostgresKeysOptions = {},
): PostgresKeys {
  const {
    schema = 'mneme_keys',
    migrate = true,
    connectTimeout = 10_000,
    statementTimeout = 30_000,
  } = checkOptions(options, 'options', OPTIONS)
  checkBoolean(migrate, 'options.migrate')
  checkTimer(connectTimeout, 'options.connectTimeout', 1)
  checkTimer(statementTimeout, 'options.statementTimeout', 1)
  return new KeySchema(connection, quoteSchema(schema), { migrate, connectTimeout, statementTimeout })
}

interface Settings {
  readonly migrate: boolean
  readonly connectTimeout: number
  readonly statementTimeout: number
}

interface Opened {
  readonly connections: Connections
  readonly close: () => Promise<void>
}

class KeySchema implements PostgresKeys {
  readonly #connection: string | PostgresConfig | PostgresPool
  readonly #schema: string
  readonly #settings: Settings
  readonly #opened = new FirstUse(() => this.#open(), 'the key store is closed')

  constructor(connection: string | PostgresConfig | PostgresPool, schema: string, settings: Settings) {
    this.#connection = connection
    this.#schema = schema
    this.#settings = settings
  }

  async get(subjects: readonly string[]): Promise<readonly KeyEntry[]> {
    if (subjects.length === 0) return []
    const among = 'subject = ANY (SELECT jsonb_array_elements_text($1::jsonb))'
    const [rows] = await this.#ask([[`${SELECT} WHERE ${among}`, [JSON.stringify(subjects)]]])
    return rows!.map(entryOf)
  }

  /** Each call can be sent again after a lost connection: done twice, it changes nothing more. */
  async put({ subject, key, wrappedBy }: WrappedKey, replaced?: WrappedKey): Promise<KeyEntry> {
    const write: Ask = replaced
      ? [
          'UPDATE SCHEMA.subject_keys SET key = $2, wrapped_by = $3 WHERE subject = $1 AND key = $4',
          [subject, key, wrappedBy, replaced.key],
        ]
      : [
          'INSERT INTO SCHEMA.subject_keys (subject, key, wrapped_by) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
          [subject, key, wrappedBy],
        ]
    return this.#write(write, subject)
  }

  async destroy({ subject, erasedAt }: Tombstone): Promise<Tombstone> {
    const destroy = `INSERT INTO SCHEMA.subject_keys AS k (subject, erased_at) VALUES ($1, $2) ON CONFLICT (subject) DO UPDATE
      SET key = NULL, wrapped_by = NULL, erased_at = excluded.erased_at WHERE k.erased_at IS NULL`
    return (await this.#write([destroy, [subject, erasedAt]], subject)) as Tombstone
  }

  async list(after = '', limit: number): Promise<readonly KeyEntry[]> {
    const page = `${SELECT} WHERE subject > $1 ORDER BY subject LIMIT $2`
    const [rows] = await this.#ask([[page, [after, String(limit)]]])
    return rows!.map(entryOf)
  }

  async close(): Promise<void> {
    const opened = await this.#opened.end()?.catch(() => undefined)
    await opened?.close()
  }

  /** Writes durably, and then reads what is kept: in a transaction of its own, so that it sees what others have committed. */
  async #write(write: Ask, subject: string): Promise<KeyEntry> {
    await this.#ask([[DURABLE, []], write])
    const [rows] = await this.#ask([[`${SELECT} WHERE subject = $1`, [subject]]])
    return entryOf(rows![0]!)
  }

  async #ask(calls: readonly Ask[]): Promise<Row[][]> {
    const { connections } = await this.#opened.get()
    return connections.askAll(
      calls.map(([sql, values]) => ({ statement: { name: '', text: this.#named(sql) }, values })),
    )
  }

  async #open(): Promise<Opened> {
    const { connectTimeout, statementTimeout, migrate } = this.#settings
    const { pool, end } = await poolOf(this.#connection, connectTimeout, OPTIONS)
    const connections = new Connections(pool, { connectTimeout, statementTimeout, prepare: false })
    const close = async () => {
      connections.close()
      await end()
    }
    try {
      const ask = async (sql: string) => (await connections.ask({ name: '', text: this.#named(sql) }))[0]!
      const [events, keys] = await ask(
        `SELECT to_regclass(${this.#literal('events')}) IS NOT NULL, to_regclass(${this.#literal('subject_keys')}) IS NOT NULL`,
      )
      if (events === 't') {
        const message = `the schema ${this.#schema} holds events; keep the keys elsewhere, in another backup`
        throw new OpenError('failed', message)
      }
      if (keys !== 't' && !migrate) {
        const message = `the schema ${this.#schema} has no table of keys: open it once with migrate: true`
        throw new OpenError('outdated-schema', message)
      }
      if (keys !== 't') await connections.askAll(this.#making())
      return { connections, close }
    } catch (error) {
      await close()
      throw error
    }
  }

  /** In one transaction, under a lock: of several processes one makes it, and the others find it. */
  #making() {
    const lock = `SELECT pg_advisory_xact_lock(hashtextextended(${literal(`mneme keys ${this.#schema}`)}, 0))`
    const schema = 'CREATE SCHEMA IF NOT EXISTS SCHEMA'
    const table = `CREATE TABLE IF NOT EXISTS SCHEMA.subject_keys (
      subject text COLLATE "C" PRIMARY KEY,
      key text,
      wrapped_by text,
      erased_at text,
      CHECK ((key IS NULL) = (erased_at IS NOT NULL) AND (key IS NULL) = (wrapped_by IS NULL))
    )`
    return [lock, schema, table].map((sql) => ({
      statement: { name: '', text: this.#named(sql) },
      values: [],
    }))
  }

  #named(sql: string): string {
    return sql.replaceAll('SCHEMA.', `${this.#schema}.`).replace(/SCHEMA$/, () => this.#schema)
  }

  #literal(table: string): string {
    return literal(`${this.#schema}.${table}`)
  }
}

type Ask = readonly [sql: string, values: readonly Parameter[]]

const OPTIONS = ['schema', 'migrate', 'connectTimeout', 'statementTimeout'] as const
const SELECT = 'SELECT subject, key, wrapped_by, erased_at FROM SCHEMA.subject_keys'
/** Whatever the database's default: a key that was used must not be lost, and one that was destroyed must not come back. */
const DURABLE = `SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') <> 'remote_apply'`

function entryOf([subject, key, wrappedBy, erasedAt]: Row): KeyEntry {
  if (erasedAt != null) return { subject: subject!, erasedAt }
  return { subject: subject!, key: key!, wrappedBy: wrappedBy! }
}
