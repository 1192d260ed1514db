import { environment } from './environment.ts'
import { checkOptions, checkWhole, MAX_TIMER_MS } from './arguments.ts'
import { type Clock, pause, systemClock } from './clock.ts'
import { InvalidArgumentError, isTransient } from './errors.ts'

/**
 * Retries after a conflict: exponential backoff with full jitter. Each delay is random, between `minDelay` and the smaller
 * of `baseDelay * 2^(retry - 1)` and `maxDelay`. Delays are in milliseconds. (The names are those of the Rust library; the
 * method is from Marc Brooker, "Exponential Backoff And Jitter", 2015.)
 */
export interface RetryOptions {
  /** Retries after the first attempt; 0 for none. Default: 10. */
  readonly maxRetries?: number | undefined
  /** The longest delay before the first retry; it doubles with each retry. Default: 10 ms. */
  readonly baseDelay?: number | undefined
  /** The shortest delay. Default: 0 ms. */
  readonly minDelay?: number | undefined
  /** The longest delay. Default: 1,000 ms. */
  readonly maxDelay?: number | undefined
}

/** Retry options, checked and complete. */
export type RetryPolicy = { readonly [K in keyof RetryOptions]-?: NonNullable<RetryOptions[K]> }

const DEFAULT: RetryPolicy = Object.freeze({ maxRetries: 10, baseDelay: 10, minDelay: 0, maxDelay: 1_000 })

/** @param defaults for omitted options; `minDelay` is then at most `maxDelay`. @throws InvalidArgumentError */
export function retryPolicy(options: RetryOptions | undefined, defaults = DEFAULT): RetryPolicy {
  if (options === undefined) return defaults
  checkOptions(options, 'retry', ['maxRetries', 'baseDelay', 'minDelay', 'maxDelay'])
  const {
    maxRetries = defaults.maxRetries,
    baseDelay = defaults.baseDelay,
    maxDelay = defaults.maxDelay,
    minDelay = Math.min(defaults.minDelay, maxDelay),
  } = options
  const policy: RetryPolicy = { maxRetries, baseDelay, minDelay, maxDelay }
  checkWhole(policy.maxRetries, 'retry.maxRetries', 0)
  for (const name of ['baseDelay', 'maxDelay', 'minDelay'] as const) {
    if (
      typeof (policy[name] as unknown) !== 'number' ||
      !(policy[name] >= 0 && policy[name] <= MAX_TIMER_MS)
    ) {
      throw new InvalidArgumentError(`retry.${name}`, `milliseconds, from 0 to ${String(MAX_TIMER_MS)}`)
    }
  }
  if (policy.minDelay > policy.maxDelay)
    throw new InvalidArgumentError('retry.minDelay', 'at most retry.maxDelay')
  return policy
}

/** The delay before a retry in milliseconds. `retry` counts from 1; `jitter` is random, from 0 to 1. */
export function retryDelay(
  { baseDelay, minDelay, maxDelay }: RetryPolicy,
  retry: number,
  jitter: number,
): number {
  const greatest = Math.max(minDelay, Math.min(maxDelay, baseDelay * 2 ** Math.min(retry - 1, MAX_DOUBLINGS)))
  return minDelay + jitter * (greatest - minDelay)
}

/** Enough for every delay, and `2 **` it is finite: 0 times infinity would be NaN. */
const MAX_DOUBLINGS = 100

/** The delays before one retry after the other. */
export function* retryDelays(policy: RetryPolicy): Generator<number, never> {
  for (let retry = 1; ; retry++) yield retryDelay(policy, retry, environment.random())
}

/** The delays between attempts to reach a store again. */
export const REACH_DELAYS: RetryPolicy = {
  maxRetries: Infinity,
  baseDelay: 50,
  minDelay: 10,
  maxDelay: 1_000,
}

/** How a call is made again. */
export interface RetryingOptions {
  /** Ends the retries; the call itself may take longer. */
  readonly signal?: AbortSignal | undefined
  /** Called with each error after which the call is made again, and the delay before that. What it throws ends the retries. */
  readonly failed?: (error: unknown, delay: number) => void
  /** Whether to make the call again after this error. By default, after errors of a store that cannot be reached. */
  readonly isWorthwhile?: (error: unknown) => boolean
  readonly delays?: Iterator<number, never>
  readonly clock?: Clock
}

/**
 * Makes a call that writes nothing until it succeeds.
 *
 * @returns `undefined` once `signal` is aborted.
 * @throws the error of a call that is not worth another one, and what `failed` throws.
 */
export async function retryUntilReached<T>(
  call: () => Promise<T>,
  {
    signal,
    failed,
    isWorthwhile = isTransient,
    delays = retryDelays(REACH_DELAYS),
    clock = systemClock,
  }: RetryingOptions,
): Promise<T | undefined> {
  const isOver = () => signal?.aborted === true
  while (!isOver()) {
    try {
      return await call()
    } catch (error) {
      if (!isWorthwhile(error)) throw error
      if (isOver()) break
      const delay = delays.next().value
      failed?.(error, delay)
      await pause(clock, delay, signal)
    }
  }
  return undefined
}
