import { limits, type Limits } from './limits.ts'
import { InvalidArgumentError, LimitError } from './errors.ts'

/** @throws LimitError */
export function checkLimit(what: string, limit: keyof Limits, actual: number): void {
  if (actual > limits[limit]) throw new LimitError(what, limit, limits[limit], actual)
}

/** @throws InvalidArgumentError */
export function checkWhole(
  value: number,
  argument: string,
  least: number,
  expected = `a whole number from ${String(least)}`,
): number {
  if (!Number.isSafeInteger(value) || value < least) throw new InvalidArgumentError(argument, expected)
  return value
}

/** Checks a time in milliseconds that a timer waits for. @throws InvalidArgumentError */
export function checkTimer(value: number, argument: string, least: number): number {
  const expected = `whole milliseconds, from ${String(least)} to ${String(MAX_TIMER_MS)}`
  checkWhole(value, argument, least, expected)
  if (value > MAX_TIMER_MS) throw new InvalidArgumentError(argument, expected)
  return value
}

/** Timers with longer delays fire at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1

/** Refuses unknown options: a misspelt one would have no effect. @throws InvalidArgumentError */
export function checkOptions<T extends object>(
  options: T,
  argument: string,
  known: readonly (keyof T & string)[],
): T {
  if (typeof (options as unknown) !== 'object' || (options as unknown) === null) {
    throw new InvalidArgumentError(argument, 'an object')
  }
  for (const key of Object.keys(options)) {
    if (!(known as readonly string[]).includes(key)) {
      const name = argument === 'options' ? key : `${argument}.${key}`
      throw new InvalidArgumentError(`${argument}.${key}`, {
        message: `unknown option '${name}'; known options: ${known.join(', ')}`,
      })
    }
  }
  return options
}

/** @throws InvalidArgumentError */
export function checkSignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined) return signal
  const { aborted, addEventListener } = Object(signal) as Partial<AbortSignal>
  if (typeof aborted !== 'boolean' || typeof addEventListener !== 'function') {
    throw new InvalidArgumentError('signal', 'an AbortSignal')
  }
  return signal
}

/** Checks what `for await` goes over. @throws InvalidArgumentError */
export function checkIterable<T extends object>(value: T, argument: string, expected: string): T {
  const { [Symbol.iterator]: items, [Symbol.asyncIterator]: later } = Object(value) as Partial<
    Iterable<unknown> & AsyncIterable<unknown>
  >
  const isIterable = typeof items === 'function' || typeof later === 'function'
  if (typeof value !== 'object' || !isIterable) throw new InvalidArgumentError(argument, expected)
  return value
}

/** A list with each of its items checked; `undefined` if there is no list. @throws InvalidArgumentError */
export function checkList<T, R>(
  list: readonly T[] | undefined,
  argument: string,
  check: (item: T, argument: string) => R,
): R[] | undefined {
  if (list === undefined) return undefined
  if (!Array.isArray(list)) throw new InvalidArgumentError(argument, 'an array')
  // Not `map`, which passes over holes.
  return Array.from(list as readonly T[], (item, i) => check(item, `${argument}[${String(i)}]`))
}

/** @throws InvalidArgumentError */
export function checkBoolean(value: unknown, name: string): void {
  if (typeof value !== 'boolean') throw new InvalidArgumentError(name, 'true or false')
}
