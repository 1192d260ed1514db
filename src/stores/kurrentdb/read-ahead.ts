import type { StoredEvent } from '../../adapter/store-adapter.ts'
import type { KurrentRecorded } from './driver.ts'
import { bytesOf, MAX_BYTES_PER_PAGE } from './page.ts'
import { toStored } from './rows.ts'

/** Events that came at once, and the last of their records. */
export interface Batch {
  readonly events: StoredEvent[]
  readonly last: KurrentRecorded
}

/**
 * Reads a call to its end, even if its events are no longer wanted, and hands them on as they come. It holds as much as a
 * page; what comes beyond is read and dropped.
 */
export class ReadAhead {
  /** `false` if the call gave more than fits, and the rest was dropped. */
  isWhole = true
  /** How many records were kept. */
  records = 0
  #bytes = 0
  readonly #batches: Batch[] = []
  /** Whether all of it has come. */
  isOver = false
  #error: Error | undefined
  #wake: () => void = () => undefined

  /**
   * @param known a record that may come again, and is not handed on.
   * @param ended called when the call has ended without an error, with the last record that was kept.
   */
  constructor(
    source: AsyncIterable<readonly KurrentRecorded[]>,
    known: KurrentRecorded,
    ended: (last: KurrentRecorded) => void,
  ) {
    void this.#run(source, known, ended)
  }

  /** The next batch; `undefined` at the end. @throws what the call threw. */
  async next(): Promise<Batch | undefined> {
    for (;;) {
      const batch = this.#batches.shift()
      if (batch) return batch
      if (this.#error) throw this.#error
      if (this.isOver) return undefined
      await this.#change()
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  async #run(
    source: AsyncIterable<readonly KurrentRecorded[]>,
    known: KurrentRecorded,
    ended: (last: KurrentRecorded) => void,
  ): Promise<void> {
    let last: KurrentRecorded | undefined
    try {
      for await (const batch of source) {
        const kept = batch.filter(
          (record) => (record.id !== known.id || record.revision !== known.revision) && this.#fits(record),
        )
        const end = kept.at(-1)
        if (!end) continue
        last = end
        this.#batches.push({ events: kept.map(toStored), last })
        this.#wake()
      }
      this.isOver = true
      if (last) ended(last)
    } catch (error) {
      this.#error = error as Error
      this.isOver = true
    }
    this.#wake()
  }

  #fits(record: KurrentRecorded): boolean {
    this.#bytes += bytesOf(record)
    if (this.records > 0 && this.#bytes > MAX_BYTES_PER_PAGE) this.isWhole = false
    if (this.isWhole) this.records++
    return this.isWhole
  }

  /** Bytes of data and metadata, of all that came. */
  get bytes(): number {
    return this.#bytes
  }
}
