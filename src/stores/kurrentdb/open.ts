import type { Calls } from './connection.ts'
import { asMnemeError, faultOf } from './errors.ts'
import { patiently } from './patience.ts'

/**
 * Whether the server appends to several streams at once, which it does from 26.1 on. It is asked to append nothing,
 * which it refuses; an older one is not even asked by the driver.
 *
 * @throws OpenError where access is denied; StoreUnavailableError where there is no server.
 */
export async function knowsAppendRecords(calls: Calls): Promise<boolean> {
  try {
    await patiently(calls, () => calls.appendRecords([], []))
  } catch (error) {
    const { kind } = faultOf(error)
    if (kind === 'unsupported') return false
    if (kind !== 'refused') throw asMnemeError(error)
  }
  return true
}
