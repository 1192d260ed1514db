import pg from 'pg'
import type { EventStore } from 'mneme'
import { postgresStore, type PostgresConfig, type PostgresOptions } from 'mneme/postgres'
import { onTestFinished } from 'vitest'

import { testServer, type TestServer } from './server.ts'

/** A database of a test's own. What is opened in it is closed when the test is over. */
export class TestDatabase {
  readonly server: TestServer
  readonly url: string
  readonly name: string

  constructor(server: TestServer, url: string) {
    this.server = server
    this.url = url
    this.name = decodeURIComponent(new URL(url).pathname.slice(1))
  }

  /** A store in it, as another process would have it. */
  async open(options: PostgresOptions = {}, config: PostgresConfig = {}): Promise<EventStore> {
    const store = await postgresStore({ connectionString: this.url, ...config }, options)
    onTestFinished(() => store.close())
    return store
  }

  query(sql: string): Promise<Record<string, unknown>[]> {
    return this.server.query(sql, this.name)
  }

  /**
   * Puts events into a store's table, each as if appended alone, and the sequence behind them. `select` gives
   * their columns up to the metadata, with `n`, from 2 to `last`, as the number of the append.
   */
  async fill(last: number, select: string): Promise<void> {
    await this.query(`
      INSERT INTO mneme.events (position, stream, revision, id, type, version, time, data, metadata, type_run, category_run)
        SELECT n::bigint << 16, s.*, 1, 1 FROM generate_series(2, ${String(last)}) n, LATERAL (SELECT ${select}) s;
      SELECT setval('mneme.positions', ${String(last)}); ANALYZE mneme.events`)
  }

  /** A setting that new connections begin with. */
  async set(setting: string): Promise<void> {
    await this.server.query(`ALTER DATABASE "${this.name}" SET ${setting}`)
  }

  /** A connection of the superuser's. */
  async client(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.url, application_name: 'mneme-test' })
    client.on('error', () => undefined)
    await client.connect()
    onTestFinished(() => client.end())
    return client
  }

  /** A transaction of a stranger's that holds streams as an append does. */
  async hold(...streams: string[]): Promise<Holder> {
    const client = await this.client()
    await client.query('BEGIN')
    for (const stream of streams)
      await client.query(`SELECT pg_advisory_xact_lock(${lockOf('mneme')})`, [stream])
    return { client, release: () => client.query('COMMIT').then(() => undefined) }
  }

  /** Resolves when so many wait for a stream, or a key, that is held. */
  async waiting(count: number): Promise<void> {
    await until(async () => (await this.countWaiting()) === count, `${String(count)} wait for a lock`)
  }

  countWaiting(): Promise<number> {
    return this.#countLocks('NOT granted')
  }

  /** How many advisory locks are held or waited for. */
  countLocks(): Promise<number> {
    return this.#countLocks('true')
  }

  async #countLocks(condition: string): Promise<number> {
    const [row] = await this.query(
      `SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND ${condition}
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    )
    return row!.n as number
  }
}

export interface Holder {
  readonly client: pg.Client
  release(): Promise<void>
}

/** The key of a stream's lock, as the schema's functions make it; the stream is the first parameter. */
export function lockOf(schema: string): string {
  return `hashtextextended($1, ${pg.escapeLiteral(`${pg.escapeIdentifier(schema)}.positions`)}::regclass::oid::bigint)`
}

/** A database of the running test's own, on the server that all files share, or on one of the test's own. */
export async function testDatabase(server?: TestServer): Promise<TestDatabase> {
  if (server) return new TestDatabase(server, await server.createDatabase())
  const shared = await testServer()
  const url = await shared.takeDatabase()
  // Registered first, and so run after what the test opens in it was closed.
  onTestFinished(() => shared.giveBackDatabase(url))
  return new TestDatabase(shared, url)
}

/** Waits for something that is about to be. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  what: string,
  milliseconds = 60_000,
): Promise<void> {
  const giveUp = performance.now() + milliseconds
  // Questions to a server cost CPU: the longer it takes, the less often it is asked.
  for (let pause = 2; !(await isSo()); pause = Math.min(pause * 1.5, 40)) {
    if (performance.now() > giveUp) throw new Error(`not within ${String(milliseconds)} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, pause))
  }
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
