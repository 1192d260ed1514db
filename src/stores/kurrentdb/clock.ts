/** The time that deadlines and retries go by. Tests inject a clock of their own. */
export interface Clock {
  /** Milliseconds since some moment; they never go back. */
  now(): number
  /** Calls back after so many milliseconds, unless what it returns is called before. */
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

/** Waits for so many milliseconds. */
export function sleep(clock: Clock, milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(milliseconds, resolve)
  })
}
