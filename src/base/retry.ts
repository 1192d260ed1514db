import { checkOptions, checkWhole } from './arguments.ts'
import { InvalidArgumentError } from './errors.ts'

/**
 * How often and after which delays a command is decided anew after a conflict: exponential backoff with full
 * jitter, a random delay between the least and the smaller of `baseDelay * 2^retry` and `maxDelay`.
 * Delays are in milliseconds. (The names are those of the Rust library; the idea is from Marc Brooker,
 * "Exponential Backoff And Jitter", 2015.)
 */
export interface RetryOptions {
  /** Retries after the first attempt; 0 for none. 10. */
  readonly maxRetries?: number | undefined
  /** What the greatest delay of the first retry is; it doubles with each one. 10 ms. */
  readonly baseDelay?: number | undefined
  /** The least delay. 0 ms. */
  readonly minDelay?: number | undefined
  /** The greatest delay. 1,000 ms. */
  readonly maxDelay?: number | undefined
}

/** Checked and complete. */
export type RetryPolicy = { readonly [K in keyof RetryOptions]-?: NonNullable<RetryOptions[K]> }

const DEFAULT: RetryPolicy = Object.freeze({ maxRetries: 10, baseDelay: 10, minDelay: 0, maxDelay: 1_000 })

/** @param defaults for what is left out; the least delay is then no more than the greatest. @throws InvalidArgumentError */
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
    if (typeof (policy[name] as unknown) !== 'number' || !(policy[name] >= 0 && policy[name] < MAX_TIMER)) {
      throw new InvalidArgumentError(`retry.${name}`, `milliseconds, from 0 to ${String(MAX_TIMER - 1)}`)
    }
  }
  if (policy.minDelay > policy.maxDelay)
    throw new InvalidArgumentError('retry.minDelay', 'at most retry.maxDelay')
  return policy
}

/** The delay before a retry, counted from 1, in milliseconds; `jitter` is random, from 0 to 1. */
export function retryDelay(
  { baseDelay, minDelay, maxDelay }: RetryPolicy,
  retry: number,
  jitter: number,
): number {
  const greatest = Math.max(
    minDelay,
    Math.min(maxDelay, baseDelay * 2 ** Math.min(retry - 1, MOST_DOUBLINGS)),
  )
  return minDelay + jitter * (greatest - minDelay)
}

/** Beyond every delay, and still a number: 0 times infinity is none. */
const MOST_DOUBLINGS = 100

/** Timers of longer delays fire at once. */
const MAX_TIMER = 2 ** 31
