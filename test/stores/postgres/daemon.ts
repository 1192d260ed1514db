import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { environment, runsAs, temporary } from './user.ts'

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

/** To a process that may have ended. */
export function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has.
  }
}
