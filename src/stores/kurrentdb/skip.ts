import { currentTime, pause } from '../../base/clock.ts'
import { environment } from '../../base/environment.ts'
import { isMnemeError, OutcomeUnknownError, StreamDeletedError } from '../../base/errors.ts'
import { nextRevision } from '../../adapter/append-rules.ts'
import type { NewEvent, SkipRequest, SkipVerdict } from '../../adapter/store-adapter.ts'
import type { Calls } from './connection.ts'
import type { Eraser } from './erase.ts'
import { asMnemeError, causeOf, faultOf } from './errors.ts'
import { SKIPPED_TYPE } from './filter.ts'
import type { Reader } from './read.ts'
import { retryDelays } from './retry.ts'
import { toKurrent } from './rows.ts'

/**
 * Skips revisions of a stream: the server counts only what it has stored, so events are stored in their place, behind a `$tb` that
 * is written first, so that no read of the stream ever gives them. The log gives them until the server is scavenged; the store
 * leaves them out by their type.
 *
 * Nobody asks for their ids, so after a lost answer the stream's head tells how far it came.
 */
export async function skip(
  calls: Calls,
  reader: Reader,
  eraser: Eraser,
  { stream, expected, before }: SkipRequest,
): Promise<SkipVerdict> {
  const giveUpAt = calls.clock.now() + calls.deadline
  try {
    let head = await reader.head(stream)
    if (head !== expected) return { kind: 'conflict', stream, expected, actual: head }
    await eraser.truncateAhead(stream, before)
    const delays = retryDelays()
    for (let next = nextRevision(head); next < before; next = nextRevision(head)) {
      const count = Math.min(before - next, MAX_EVENTS_PER_CALL)
      const events = Array.from({ length: count }, () => toKurrent(placeIn(stream), { time: currentTime() }))
      try {
        await calls.appendToStream({ stream, expected: head }, events, count * BYTES_PER_EVENT)
        head = next + count - 1
      } catch (error) {
        const { kind } = faultOf(error)
        if (kind === 'tombstoned') throw new StreamDeletedError(stream)
        const isWorthwhile = ['violated', 'lost', 'late', 'thrown', 'not-sent', 'not-leader'].includes(kind)
        const delay = delays.next().value
        if (!isWorthwhile) throw asMnemeError(error, { stream })
        if (calls.clock.now() + delay > giveUpAt)
          throw new OutcomeUnknownError(IN_DOUBT, { cause: causeOf(error) })
        if (kind === 'late' || kind === 'not-leader') await calls.reconnect()
        await pause(calls.clock, delay)
        head = await reader.head(stream)
        if (nextRevision(head) > before) return { kind: 'conflict', stream, expected, actual: head }
      }
    }
    return { kind: 'done' }
  } catch (error) {
    if (error instanceof StreamDeletedError) return { kind: 'erased', stream, firstRevision: undefined }
    throw isMnemeError(error) ? error : asMnemeError(error, { stream })
  }
}

function placeIn(stream: string): NewEvent {
  return { stream, id: environment.uuid(), type: SKIPPED_TYPE, version: 1, data: '{}', metadata: '{}' }
}

const MAX_EVENTS_PER_CALL = 1_000
const BYTES_PER_EVENT = 200
const IN_DOUBT =
  'the connection was lost while revisions were skipped, and how far that came is not known: call it again'
