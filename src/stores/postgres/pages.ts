import type { Position } from '../../base/revision.ts'
import type { StoredEvent } from '../../adapter/store-adapter.ts'
import type { History } from './history.ts'
import { formatNumber } from './position.ts'
import { eventOf, PAGE_BYTES, type PageStatements, SMALL_EVENT_BYTES } from './statements.ts'
import type { Parameter, Row } from './wire.ts'

/** Events that one statement gave. */
export interface Page {
  readonly events: StoredEvent[]
  /** Whether more events follow in the range that was asked for, because the next one is large. */
  readonly isCut: boolean
  /** On a standby: up to where the log was complete for this statement. */
  readonly noted: Position | undefined
}

/** Runs a statement. */
export type Ask = (sql: string, values: readonly Parameter[]) => Promise<Row[]>

/** Asks for pages of events, which it makes known to the history. */
export class Pager {
  readonly #ask: Ask
  readonly #history: History
  #areSmall = true
  #known: Page | undefined

  /** @param first the first page, if it is known already. */
  constructor(ask: Ask, history: History, first?: Page) {
    this.#ask = ask
    this.#history = history
    this.#known = first
  }

  /** The next page: by the statement for small events, as long as they are small. */
  async next({ small, measured }: PageStatements, values: readonly Parameter[]): Promise<Page> {
    if (this.#areSmall) {
      const page = this.#known ?? pageOf(await this.#ask(small, values), this.#history)
      this.#known = undefined
      this.#areSmall = !page.isCut
      if (this.#areSmall || page.events.length > 0) return page
    }
    const page = pageOf(await this.#ask(measured, values), this.#history)
    this.#areSmall = page.events.every((event) => unitsOf([event]) <= SMALL_EVENT_BYTES)
    return { ...page, isCut: unitsOf(page.events) * MAX_BYTES_PER_UNIT >= PAGE_BYTES }
  }
}

/** The page of some rows; it ends before an event that is too large for it. */
export function pageOf(rows: readonly Row[], history: History): Page {
  const events: StoredEvent[] = []
  let noted: string | undefined
  let isCut = false
  for (const row of rows) {
    if (row[STREAM_COLUMN] === null) noted = row[0]!
    else if (row[DATA_COLUMN] === null) isCut = true
    else if (!isCut) events.push(eventOf(row))
  }
  for (const end of [events.at(0), events.at(-1)]) if (end) history.saw(end)
  return { events, isCut, noted: noted === undefined ? undefined : formatNumber(noted) }
}

/** UTF-16 units of JSON. */
function unitsOf(events: readonly StoredEvent[]): number {
  let units = 0
  for (const { data, metadata } of events) units += data.length + metadata.length
  return units
}

/** A character of UTF-16 takes up to so many bytes in UTF-8. */
const MAX_BYTES_PER_UNIT = 3
/** Columns of a row of a page that may be null: the stream in the row of the horizon, the data of a large event. */
const STREAM_COLUMN = 1
const DATA_COLUMN = 7
