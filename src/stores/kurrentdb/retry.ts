import { environment } from '../../base/environment.ts'
import { retryUntilReached as retry } from '../../base/retry.ts'
import type { Calls } from './connection.ts'
import { faultOf } from './errors.ts'

/** Makes a call that writes nothing, and retries it until the server is reached or the deadline has passed. */
export async function retryUntilReached<T>(calls: Calls, call: () => Promise<T>): Promise<T> {
  const { clock } = calls
  const giveUpAt = clock.now() + calls.deadline
  const attempt = async () => {
    try {
      return { value: await call() }
    } catch (error) {
      const { kind } = faultOf(error)
      if (kind === 'not-leader' || kind === 'late') await calls.reconnect()
      throw error
    }
  }
  const failed = (error: unknown, delay: number) => {
    if (clock.now() + delay > giveUpAt) throw error
  }
  const options = { clock, failed, isWorthwhile: isTransient, delays: retryDelays() }
  // Without a signal it goes on until it succeeds or throws.
  return (await retry(attempt, options))!.value
}

/** Whether a call that writes nothing may be retried: it did not reach a server, or the connection was lost. */
export function isTransient(error: unknown): boolean {
  const { kind } = faultOf(error)
  return kind === 'not-sent' || kind === 'lost' || kind === 'not-leader'
}

/** Milliseconds before each retry: exponential backoff with jitter, since a server takes a second or two to start. */
export function* retryDelays(): Generator<number, never> {
  for (let delay = FIRST_RETRY_DELAY_MS; ; delay = Math.min(delay * 2, MAX_RETRY_DELAY_MS)) {
    yield delay * (0.5 + environment.random() / 2)
  }
}

const FIRST_RETRY_DELAY_MS = 10
const MAX_RETRY_DELAY_MS = 500
