import type { Calls } from './connection.ts'
import { faultOf } from './errors.ts'

/** Makes a call that writes nothing until it reaches a server, for as long as the deadline gives. */
export async function patiently<T>(calls: Calls, call: () => Promise<T>): Promise<T> {
  const until = performance.now() + calls.deadline
  for (const pause of pauses()) {
    try {
      return await call()
    } catch (error) {
      const { kind } = faultOf(error)
      if (kind === 'not-leader' || kind === 'late') await calls.reconnect()
      if (!isTransient(error) || performance.now() + pause > until) throw error
    }
    await sleep(pause)
  }
  throw new Error('pauses never end')
}

/** Whether a call that writes nothing may be made again: it did not reach a server, or lost it. */
export function isTransient(error: unknown): boolean {
  const { kind } = faultOf(error)
  return kind === 'not-sent' || kind === 'lost' || kind === 'not-leader'
}

/** Milliseconds to wait before each next attempt: a server that starts again takes a second or two. */
export function* pauses(): Generator<number, never> {
  for (let pause = 10; ; pause = Math.min(pause * 2, 500)) yield pause * (0.5 + Math.random() / 2)
}

/** Waits for so many milliseconds. */
export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
