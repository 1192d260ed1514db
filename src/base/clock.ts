import { onAbort } from './abort.ts'
import { type Clock, environment } from './environment.ts'

export type { Clock } from './environment.ts'

/** The clock of this program. */
export const systemClock: Clock = environment

export { MAX_TIMER_MS } from './arguments.ts'

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
