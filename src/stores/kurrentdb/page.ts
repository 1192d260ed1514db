import type { KurrentRecorded } from './driver.ts'

/** How many events are asked for at first. */
export const FIRST_PAGE_EVENTS = 32

/** The records of one call. */
export interface Page {
  readonly records: readonly KurrentRecorded[]
  /** `false` if the call gave more than fits in a page, and the rest was left out. */
  readonly isWhole: boolean
}

/** Reads a call to its end, and keeps of it what fits in a page. */
export async function readPage(batches: AsyncIterable<readonly KurrentRecorded[]>): Promise<Page> {
  const records: KurrentRecorded[] = []
  let bytes = 0
  let isWhole = true
  for await (const batch of batches) {
    for (const record of batch) {
      bytes += bytesOf(record)
      if (records.length > 0 && bytes > MAX_BYTES_PER_PAGE) isWhole = false
      if (isWhole) records.push(record)
    }
  }
  return { records, isWhole }
}

/**
 * The number of events to ask for: few at first, because most streams are short and the size of events is unknown; then more
 * and more, up to what fits in a page by the size of the events so far.
 */
export class PageSize {
  readonly #most: number
  #count = FIRST_PAGE_EVENTS

  constructor(most = MAX_EVENTS_PER_PAGE) {
    this.#most = most
  }

  /** Whether no page was read yet. */
  get isFirst(): boolean {
    return this.#count === FIRST_PAGE_EVENTS
  }

  /** @param left how many are wanted at most. */
  upTo(left: number): number {
    return Math.min(left, this.#count)
  }

  /** Learns from a page. */
  saw(records: readonly KurrentRecorded[]): readonly KurrentRecorded[] {
    let bytes = 0
    for (const record of records) bytes += bytesOf(record)
    this.learn(records.length, bytes)
    return records
  }

  /** Learns from so many records of so many bytes. */
  learn(records: number, bytes: number): void {
    const fitting =
      records === 0 || bytes === 0 ? this.#most : Math.floor((WANTED_BYTES_PER_PAGE * records) / bytes)
    this.#count = Math.max(1, Math.min(this.#count * PAGE_GROWTH_FACTOR, fitting, this.#most))
  }
}

/** Bytes of a record's data and metadata. */
export function bytesOf({ data, metadata }: KurrentRecorded): number {
  return data.byteLength + metadata.byteLength
}

const PAGE_GROWTH_FACTOR = 32
/** Few calls, because each one may wait 40 ms for a delayed acknowledgement beneath the driver. */
const MAX_EVENTS_PER_PAGE = 8_192
/** The same for the log, whose next page cannot be asked for before the present one has come. */
export const MAX_EVENTS_PER_LOG_PAGE = 32_768
const WANTED_BYTES_PER_PAGE = 4 * 1024 * 1024
/** The most bytes of a page. */
export const MAX_BYTES_PER_PAGE = 16 * 1024 * 1024
