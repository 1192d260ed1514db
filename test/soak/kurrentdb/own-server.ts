import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { until } from '../../stores/kurrentdb/rig.ts'

/** A real server of the test's own. */
export class OwnServer {
  readonly #command: string
  readonly #port: number
  readonly #data = mkdtempSync(join(tmpdir(), 'mneme-kurrentdb-'))
  #child: ChildProcess | undefined

  constructor(command: string, port: number) {
    this.#command = command
    this.#port = port
  }

  get connectionString(): string {
    return `kurrentdb://127.0.0.1:${String(this.#port)}?tls=false`
  }

  async start(): Promise<void> {
    const env = { ...process.env, PORT: String(this.#port), DATA: this.#data }
    // A group of its own, so that what the command starts is killed with it.
    this.#child = spawn('sh', ['-c', this.#command], { env, stdio: 'ignore', detached: true })
    await until(() => this.#isReady(), 'the server is ready', 120_000)
  }

  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    process.kill(-child.pid, 'SIGKILL')
    await gone
  }

  async destroy(): Promise<void> {
    await this.kill()
    rmSync(this.#data, { recursive: true, force: true })
  }

  async #isReady(): Promise<boolean> {
    try {
      const { status } = await fetch(`http://127.0.0.1:${String(this.#port)}/health/live`)
      return status === 204
    } catch {
      return false
    }
  }
}

/** A port that nobody has. */
export async function freePort(): Promise<number> {
  const listener = createServer()
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  listener.close()
  await once(listener, 'close')
  // Some servers take a second port, ten thousand above or below.
  return port
}
