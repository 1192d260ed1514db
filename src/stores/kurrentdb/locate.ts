import { historyRewound, HistoryRewoundError, StoreFailedError } from '../../base/errors.ts'
import type { Position } from '../../base/revision.ts'
import type { LogPlace } from '../../adapter/store-adapter.ts'
import { pause } from '../../base/clock.ts'
import type { Calls } from './connection.ts'
import type { KurrentRecorded, LogPosition } from './driver.ts'
import { asMnemeError } from './errors.ts'
import { clientFilter } from './filter.ts'
import { readPage } from './page.ts'
import { retryDelays, retryUntilReached } from './retry.ts'
import { formatLogPosition, isSamePosition, parseLogPosition } from './position.ts'
import { EVERYTHING, type Reader } from './read.ts'
import { toStored } from './rows.ts'

/** Finds the event at a position of the log. */
export class Locator {
  readonly #calls: Calls
  readonly #reader: Reader

  constructor(calls: Calls, reader: Reader) {
    this.#calls = calls
    this.#reader = reader
  }

  /** The id of the event at a position, also of an event of the server's or the store's own. */
  async idAt(position: LogPosition): Promise<string | undefined> {
    return (await this.#recordAt(position))?.id
  }

  /**
   * Checks that a place belongs to this history: from one beyond its log, the server silently gives nothing.
   *
   * @throws HistoryRewoundError
   */
  async confirm({ position, id }: LogPlace): Promise<void> {
    const giveUpAt = this.#calls.clock.now() + this.#calls.deadline
    for (const delay of retryDelays()) {
      const found = await this.#firstFrom(parseLogPosition(position))
      const isThere = found && formatLogPosition(found.position!) === position
      if (isThere && found.id === id) return
      // A log gives what lies behind a position that it does not have only where it was scavenged.
      if (found && !isThere) throw scavengedOrRewound(position)
      // A node that does not lead may not have the event yet.
      const mayCome = !found && !this.#calls.requiresLeader && this.#calls.clock.now() < giveUpAt
      if (!mayCome) throw historyRewound(position)
      await pause(this.#calls.clock, delay)
    }
  }

  /** The last event at a position or before that is not the store's or the server's own. */
  async upTo(position: LogPosition): Promise<LogPlace | undefined> {
    const record = await this.#recordAt(position)
    if (record && isUsers(toStored(record))) return placeOf(record)
    const before = {
      ...EVERYTHING,
      after: formatLogPosition(position),
      direction: 'backwards',
      limit: 1,
    } as const
    for await (const [last] of this.#reader.all(before))
      return last && { position: last.position, id: last.id }
    return undefined
  }

  async #recordAt(position: LogPosition): Promise<KurrentRecorded | undefined> {
    const record = await this.#firstFrom(position)
    return isSamePosition(record?.position, position) ? record : undefined
  }

  /** The record at a position; if it was scavenged, the next one. */
  async #firstFrom(position: LogPosition): Promise<KurrentRecorded | undefined> {
    const part = { direction: 'forwards', fromPosition: position, maxCount: 1n } as const
    try {
      const { records } = await retryUntilReached(this.#calls, () => readPage(this.#calls.readAll(part)))
      return records[0]
    } catch (error) {
      const failure = asMnemeError(error)
      // The server fails if no event begins at the position.
      if (failure instanceof StoreFailedError) return undefined
      throw failure
    }
  }
}

/** Nothing proves which of the two it is: the id of the event is gone with it (docs/decisions/0104). */
function scavengedOrRewound(position: Position): HistoryRewoundError {
  return new HistoryRewoundError(
    `no event is at position ${position} any more: a scavenge of the server removed it, or the store was restored to an ` +
      "earlier point, and nothing tells which; begin at 'start', and rebuild what was derived from the old history",
  )
}

/** The place right after a record. */
export function placeOf({ position, id }: KurrentRecorded): LogPlace {
  return { position: formatLogPosition(position!), id }
}

const isUsers = clientFilter(EVERYTHING)
