/** The time that deadlines, retries and pauses go by. Tests inject a clock of their own. */
export interface Clock {
  /** Milliseconds since some moment; they never go back. */
  now(): number
  /** Calls back after so many milliseconds, unless the returned function is called before. */
  after(milliseconds: number, callback: () => void): () => void
}

/** What a program cannot compute by itself: time, timers and chance. */
export interface Environment extends Clock {
  /** Milliseconds since 1970, as the computer's clock has them: they may go back. */
  date(): number
  /** A number from 0 to below 1. */
  random(): number
  uuid(): string
  /** As `after`, but a timer that does not keep the program from ending. */
  afterInBackground(milliseconds: number, callback: () => void): () => void
  /** Calls back in the next turn of the event loop, after all microtasks, unless the returned function is called before. */
  nextTurn(callback: () => void): () => void
}

/** The environment of the computer itself. */
export const systemEnvironment: Environment = {
  now: () => performance.now(),
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds)
    return () => {
      clearTimeout(timer)
    }
  },
  date: () => Date.now(),
  random: () => Math.random(),
  uuid: () => crypto.randomUUID(),
  afterInBackground(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds).unref()
    return () => {
      clearTimeout(timer)
    }
  },
  nextTurn(callback) {
    const immediate = setImmediate(callback)
    return () => {
      clearImmediate(immediate)
    }
  },
}

let current = systemEnvironment

/**
 * The environment of this program. All of the library takes its time, timers and random numbers from here, so that a
 * simulation can replace them.
 */
export const environment: Environment = {
  now: () => current.now(),
  after: (milliseconds, callback) => current.after(milliseconds, callback),
  date: () => current.date(),
  random: () => current.random(),
  uuid: () => current.uuid(),
  afterInBackground: (milliseconds, callback) => current.afterInBackground(milliseconds, callback),
  nextTurn: (callback) => current.nextTurn(callback),
}

/** Keeps a value for each environment: processes that are simulated in one process must not share it. */
export function keptByEnvironment<T>(make: () => T): () => T {
  const kept = new WeakMap<Environment, T>()
  return () => {
    let value = kept.get(current)
    if (value === undefined) kept.set(current, (value = make()))
    return value
  }
}

/** Replaces the environment of this program; `undefined`: the computer's own again. For `mneme/simulation`. */
export function replaceEnvironment(replacement: Environment | undefined): void {
  current = replacement ?? systemEnvironment
}
