import { historyRewound, StoreFailedError } from '../../base/errors.ts'
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
      const found = await this.idAt(parseLogPosition(position))
      if (found === id) return
      // A node that does not lead may not have the event yet.
      const mayCome = found === undefined && !this.#calls.requiresLeader && this.#calls.clock.now() < giveUpAt
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
    const part = { direction: 'forwards', fromPosition: position, maxCount: 1n } as const
    try {
      const { records } = await retryUntilReached(this.#calls, () => readPage(this.#calls.readAll(part)))
      return isSamePosition(records[0]?.position, position) ? records[0] : undefined
    } catch (error) {
      const failure = asMnemeError(error)
      // The server fails if no event begins at the position.
      if (failure instanceof StoreFailedError) return undefined
      throw failure
    }
  }
}

/** The place right after a record. */
export function placeOf({ position, id }: KurrentRecorded): LogPlace {
  return { position: formatLogPosition(position!), id }
}

const isUsers = clientFilter(EVERYTHING)
