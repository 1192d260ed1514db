import { InvalidArgumentError } from './errors.ts'

/**
 * Checks a function of the user's that is called for what it does or returns.
 *
 * @param expected what it has to be, if it is no function.
 * @throws InvalidArgumentError; also for a generator function: a call of it runs nothing of what is written in it.
 */
export function checkFunction(value: unknown, argument: string, expected = 'a function'): void {
  if (typeof value !== 'function') throw new InvalidArgumentError(argument, expected)
  if (!isGeneratorFunction(value)) return
  throw new InvalidArgumentError(argument, {
    message: `${argument} is a generator function (function*), of which a call runs nothing: write it without the *`,
  })
}

/** Whether a function is written with `async`. */
export function isAsyncFunction(value: unknown): boolean {
  return typeof value === 'function' && value.constructor === AsyncFunction
}

function isGeneratorFunction(value: object): boolean {
  return /^\[object (?:Async)?GeneratorFunction\]$/.test(Object.prototype.toString.call(value))
}

/** Whether a value has to be awaited. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    ((typeof value === 'object' && value !== null) || typeof value === 'function') &&
    typeof (value as Partial<PromiseLike<unknown>>).then === 'function'
  )
}

/** Whether a value is what a generator function returns, of which nothing has run. */
export function isGenerator(value: unknown): boolean {
  if (
    typeof value !== 'object' ||
    value === null ||
    typeof (value as Partial<Generator>).throw !== 'function'
  )
    return false
  return /^\[object (?:Async)?Generator\]$/.test(Object.prototype.toString.call(value))
}

const AsyncFunction: unknown = (async () => {
  await Promise.resolve()
}).constructor
