import { pause } from '../adapter/subscription-hub.ts'

/** The time that a projection's workers go by. Tests inject a clock of their own. */
export interface Clock {
  /** Milliseconds since some moment; they never go back. */
  now(): number
  /** Resolves after so many milliseconds, or when the signal is aborted. */
  pause(milliseconds: number, signal: AbortSignal): Promise<void>
}

export const systemClock: Clock = { now: () => performance.now(), pause }
