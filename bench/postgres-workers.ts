import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

import { seconds } from './measure.ts'
import type { Order, Side } from './postgres-worker.ts'

/** Processes that append to one database, with so many callers each. */
export class PostgresWorkers {
  readonly #processes: readonly ChildProcess[]

  private constructor(processes: readonly ChildProcess[]) {
    this.#processes = processes
  }

  /** Resolves when all of them are connected. */
  static async start(url: string, processes: number, callers: number): Promise<PostgresWorkers> {
    const file = new URL('postgres-worker.js', import.meta.url)
    const started = Array.from({ length: processes }, () => fork(file, [url, String(callers)]))
    const workers = new PostgresWorkers(started)
    await workers.#hear()
    return workers
  }

  /** Lets every caller append so many events; the seconds from the word to the last one's end. */
  run(side: Side, count: number): Promise<number> {
    return seconds(async () => {
      const done = this.#hear()
      for (const worker of this.#processes) worker.send({ side, count } satisfies Order)
      await done
    })
  }

  async stop(): Promise<void> {
    const exits = this.#processes.map((worker) => once(worker, 'exit'))
    for (const worker of this.#processes) worker.kill()
    await Promise.all(exits)
  }

  /** A message of each. One that ends instead is a failure. */
  async #hear(): Promise<void> {
    const heard = this.#processes.map(async (worker) => {
      const over = new AbortController()
      const { signal } = over
      const failed = once(worker, 'exit', { signal }).then(() => Promise.reject(new Error('a worker failed')))
      await Promise.race([once(worker, 'message', { signal }), failed])
      over.abort()
      await failed.catch(() => undefined)
    })
    await Promise.all(heard)
  }
}
