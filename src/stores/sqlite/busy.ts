import { setTimeout as delay } from 'node:timers/promises'

import { StoreBusyError } from '../../base/errors.ts'
import { isBusy } from './errors.ts'

/**
 * Makes an attempt again and again while another process holds the file, with the event loop free in between.
 *
 * @throws StoreBusyError after `timeout` milliseconds; anything else that an attempt throws, at once.
 */
export async function retryBusy<T>(attempt: () => T, timeout: number): Promise<T> {
  const started = performance.now()
  for (;;) {
    try {
      return attempt()
    } catch (error) {
      if (!isBusy(error)) throw error
      const waited = performance.now() - started
      if (waited >= timeout) throw new StoreBusyError(waited, { cause: error })
    }
    await delay(RETRY)
  }
}

/** Milliseconds between two attempts. */
export const RETRY = 1
