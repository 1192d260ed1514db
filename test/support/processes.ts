import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

import { seed } from './soak.ts'

const seededRandom = new URL('seeded-random.mjs', import.meta.url).href

/** A process that runs a task of a script, which uses the built package. */
export class ScriptProcess {
  readonly child: ChildProcess
  readonly lines: string[] = []
  readonly ended: Promise<number | null>
  /** How many this process has started: each draws from a seed of its own. */
  static #started = 0
  #errors = ''
  #awaited: { pattern: string; found: () => void }[] = []

  constructor(script: URL, ...args: (string | number)[]) {
    const seeded = seed === undefined ? [] : ['--import', seededRandom]
    const options = ['--no-warnings', ...seeded, fileURLToPath(script), ...args.map(String)]
    this.child = spawn(process.execPath, options, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: {
        ...process.env,
        ...(seed !== undefined && { MNEME_SEED: String(seed + ++ScriptProcess.#started) }),
      },
    })
    onTestFinished(() => void this.child.kill('SIGKILL'))
    this.child.stderr?.on('data', (chunk) => (this.#errors += String(chunk)))
    // It may have ended when it is told something.
    this.child.stdin?.on('error', () => {})
    const reader = createInterface({ input: this.child.stdout! })
    reader.on('line', (line) => {
      this.lines.push(line)
      this.#awaited = this.#awaited.filter(({ pattern, found }) => line !== pattern || found())
    })
    this.ended = Promise.all([once(this.child, 'exit'), once(reader, 'close')]).then(
      ([[code]]) => code as number | null,
    )
  }

  /** Resolves when the process has written this line. */
  async said(pattern: string): Promise<void> {
    if (this.lines.includes(pattern)) return
    const found = new Promise<void>((resolve) => this.#awaited.push({ pattern, found: resolve }))
    const ended = this.ended.then((code) => {
      if (!this.lines.includes(pattern)) throw new Error(`ended with ${code}: ${this.#errors}`)
    })
    await Promise.race([found, ended])
  }

  say(line: string): void {
    this.child.stdin?.write(`${line}\n`)
  }

  /** What it wrote last, as JSON, when it ended well. */
  async result<T>(): Promise<T> {
    const code = await this.ended
    if (code !== 0) throw new Error(`the process ended with ${code}: ${this.#errors}`)
    return JSON.parse(this.lines.at(-1) ?? 'null') as T
  }
}
