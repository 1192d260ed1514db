import { onAbort } from './abort.ts'

/** The time that deadlines, retries and pauses go by. Tests inject a clock of their own. */
export interface Clock {
  /** Milliseconds since some moment; they never go back. */
  now(): number
  /** Calls back after so many milliseconds, at most {@link MAX_TIMER_MS}, unless the returned function is called before. */
  after(milliseconds: number, callback: () => void): () => void
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds)
    return () => {
      clearTimeout(timer)
    }
  },
}

/** Timers with longer delays fire at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1

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

/** The current time as events carry it: ISO 8601, UTC, with milliseconds. */
export function currentTime(): string {
  return timeOf(Date.now())
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
