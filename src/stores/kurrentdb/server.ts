import { environment } from '../../base/environment.ts'
import { StoreFailedError } from '../../base/errors.ts'
import { RESERVED_STREAMS } from '../../model/names.ts'
import type { Calls } from './connection.ts'
import { asMnemeError, faultOf } from './errors.ts'
import { retryUntilReached } from './retry.ts'
import type { Reader } from './read.ts'

/** The stream whose first event has the store's identity for an id. */
const STREAM = `${RESERVED_STREAMS}identity`

/** The store's identity, which is made if it has none yet. If several processes make it at once, one of them wins. */
export async function readIdentity(calls: Calls, reader: Reader): Promise<string> {
  const known = await look(reader)
  if (known !== undefined) return known
  const event = {
    id: environment.uuid(),
    type: 'mneme:Identity',
    contentType: 'application/json',
    data: {},
    metadata: {},
  } as const
  try {
    await retryUntilReached(calls, () => calls.appendToStream({ stream: STREAM, expected: 'none' }, [event]))
  } catch (error) {
    if (faultOf(error).kind !== 'violated') throw asMnemeError(error, { stream: STREAM })
  }
  const made = await look(reader)
  if (made === undefined)
    throw new StoreFailedError(`the stream ${STREAM}, which holds the store's identity, is empty`)
  return made
}

async function look(reader: Reader): Promise<string | undefined> {
  const page = await reader.page(STREAM, { direction: 'forwards', from: 0, count: 1 })
  return page?.records[0]?.id
}

/**
 * Whether the server appends to several streams at once, which it does from 26.1 on. It is asked to append nothing,
 * which it refuses; an older one is not even asked by the driver.
 *
 * @throws OpenError if access is denied; StoreUnavailableError if there is no server.
 */
export async function knowsAppendRecords(calls: Calls): Promise<boolean> {
  try {
    await retryUntilReached(calls, () => calls.appendRecords([], []))
  } catch (error) {
    const { kind } = faultOf(error)
    if (kind === 'unsupported') return false
    if (kind !== 'refused') throw asMnemeError(error)
  }
  return true
}
