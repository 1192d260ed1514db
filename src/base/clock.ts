import { onAbort } from './abort.ts'
import { type Clock, environment } from './environment.ts'

export type { Clock } from './environment.ts'

/** The clock of this program. */
export const systemClock: Clock = environment

/** Resolves after so many milliseconds, or when the signal is aborted. */
export function pause(clock: Clock, milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (!signal) {
      clock.after(milliseconds, resolve)
      return
    }
    const end = () => {
      stop()
      cancel()
      resolve()
    }
    const cancel = clock.after(milliseconds, end)
    const stop = onAbort(signal, end)
    if (signal.aborted) end()
  })
}

/** Calls back every so many milliseconds. @returns a function that ends it. */
export function every(clock: Clock, milliseconds: number, callback: () => void): () => void {
  const tick = () => {
    cancel = clock.after(milliseconds, tick)
    callback()
  }
  let cancel = clock.after(milliseconds, tick)
  return () => {
    cancel()
  }
}

/** Resolves after a turn of the event loop, in which timers and I/O had their chance. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    environment.nextTurn(resolve)
  })
}

/** The current time as events carry it: ISO 8601, UTC, with milliseconds. */
export function currentTime(): string {
  return timeOf(environment.date())
}

/** A time, in milliseconds since 1970, as events carry it. Consecutive events often share it, so the last text is kept. */
export function timeOf(milliseconds: number): string {
  if (milliseconds !== last) {
    last = milliseconds
    text = new Date(milliseconds).toISOString()
  }
  return text
}

let last = NaN
let text = ''
