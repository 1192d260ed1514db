import {
  HistoryRewoundError,
  isMnemeError,
  OutcomeUnknownError,
  StoreFailedError,
  StreamTruncatedError,
} from '../../base/errors.ts'
import type { ExpectedRevision } from '../../base/revision.ts'
import { type Batch, type Placed } from './batch.ts'
import { pause } from '../../base/clock.ts'
import type { Calls, Written } from './connection.ts'
import type { LogPosition } from './driver.ts'
import { asMnemeError, causeOf, faultOf, type Violation } from './errors.ts'
import { type MetadataForm, positionsBefore } from './log-layout.ts'
import { retryDelays } from './retry.ts'
import type { Reader } from './read.ts'

/** The outcome of a batch. */
export type Outcome = Placed | { readonly kind: 'violated'; readonly violations: readonly Violation[] }

/** Writes batches, and settles those that got no answer. */
export class Writer {
  readonly #calls: Calls
  readonly #reader: Reader
  readonly #isModern: boolean
  readonly #history = new History()
  /** Whether computed positions are right, by the form of the metadata, once they were compared. */
  readonly #isLaidOut = new Map<MetadataForm, boolean>()

  /** @param isModern whether the server is 26.1 or newer. */
  constructor(calls: Calls, reader: Reader, isModern: boolean) {
    this.#calls = calls
    this.#reader = reader
    this.#isModern = isModern
  }

  /**
   * Writes a batch, and repeats it within the deadline if it certainly did not arrive. If that is uncertain, it is repeated
   * only if the server can tell that it was written before, because a stream had an exact expectation; then the deadline
   * begins again.
   *
   * @throws OutcomeUnknownError if the outcome could not be found out.
   * @throws HistoryRewoundError
   */
  async write(batch: Batch): Promise<Outcome> {
    let giveUpAt = this.#calls.clock.now() + this.#calls.deadline
    let doubt: unknown
    for (const delay of retryDelays()) {
      this.#history.check()
      const { head } = this.#history
      try {
        const written = await this.#send(batch)
        if (written.position)
          this.#history.saw(written.position, doubt === undefined && batch.isNew ? head : undefined)
        return await this.#placed(batch, written)
      } catch (error) {
        if (isMnemeError(error)) throw error
        const fault = faultOf(error)
        switch (fault.kind) {
          case 'violated': {
            // The streams have moved on. The batch can no longer be written, but it may have been.
            const found = doubt === undefined ? undefined : await this.#find(batch, doubt)
            return found ?? fault
          }
          case 'lost':
          case 'thrown':
          case 'late':
            if (fault.kind === 'late') await this.#calls.reconnect()
            this.#isLaidOut.clear()
            if (doubt === undefined) giveUpAt = this.#calls.clock.now() + this.#calls.deadline
            doubt ??= error
            if (!batch.isRepeatable) throw inDoubt(doubt)
            break
          case 'not-leader':
            await this.#calls.reconnect()
            break
          case 'not-sent':
            break
          default:
            if (doubt !== undefined) throw inDoubt(doubt)
            throw asMnemeError(error, { stream: batch.records[0]?.stream, bytes: batch.bytes })
        }
        if (this.#calls.clock.now() + delay > giveUpAt) {
          throw doubt === undefined ? asMnemeError(error) : inDoubt(doubt)
        }
      }
      await pause(this.#calls.clock, delay)
    }
    throw new Error('retryDelays never end')
  }

  /**
   * Few bytes to one stream are written sooner by `appendToStream`, the only call that older servers have. Many bytes are
   * not: the driver sends them in several messages, all of which have to arrive within two seconds (`WriteTimeoutMs`).
   */
  async #send(batch: Batch): Promise<Written & { readonly form: MetadataForm }> {
    const { onlyStream, records, expectations } = batch
    if (onlyStream && !(this.#isModern && batch.bytes > MAX_SMALL_APPEND_BYTES)) {
      const written = await this.#calls.appendToStream(
        onlyStream,
        records.map(({ event }) => event),
        batch.bytes,
      )
      return { heads: written.heads, position: written.position, form: 'json' }
    }
    const written = await this.#calls.appendRecords(records, expectations)
    return { heads: written.heads, position: written.position, form: 'properties' }
  }

  async #placed(
    batch: Batch,
    { heads, position, form }: Written & { readonly form: MetadataForm },
  ): Promise<Placed> {
    const { records } = batch
    if (position && records.length === 1) return { kind: 'written', heads, positions: [position] }
    const laid = position && this.#isModern ? positionsBefore(position, records, form) : undefined
    if (laid && this.#isLaidOut.get(form)) return { kind: 'written', heads, positions: laid }
    const positions = await this.#readPositions(batch, heads).catch((error: unknown) => {
      if (error instanceof StreamTruncatedError && !batch.isNew) throw error
      throw new OutcomeUnknownError('the events are stored, but where could not be read', { cause: error })
    })
    if (laid && !this.#isLaidOut.has(form)) {
      this.#isLaidOut.set(
        form,
        laid.every(({ commit }, i) => commit === positions[i]!.commit),
      )
    }
    return { kind: 'written', heads, positions }
  }

  async #readPositions({ records }: Batch, heads: ReadonlyMap<string, number>): Promise<LogPosition[]> {
    const found = new Map<string, LogPosition>()
    for (const [stream, head] of heads) {
      const own = records.filter((record) => record.stream === stream)
      let from = head - own.length + 1
      while (from <= head) {
        const page = await this.#reader.page(stream, { direction: 'forwards', from, count: head - from + 1 })
        const [first] = page?.records ?? []
        if (!page || !first) throw new StreamTruncatedError(stream, undefined)
        // A repeat of an append whose events were erased meanwhile.
        if (Number(first.revision) > from) throw new StreamTruncatedError(stream, Number(first.revision))
        for (const { id, position } of page.records) if (position) found.set(id, position)
        from += page.records.length
      }
    }
    return records.map(({ event }) => {
      const position = found.get(event.id)
      if (!position) throw new StoreFailedError(`${event.type} is not where it was stored`)
      return position
    })
  }

  /** Looks for a batch that may have been written, and whose streams have moved on since. */
  async #find(batch: Batch, doubt: unknown): Promise<Placed | undefined> {
    try {
      return await this.#lookFor(batch)
    } catch {
      throw inDoubt(doubt)
    }
  }

  async #lookFor(batch: Batch): Promise<Placed | undefined> {
    const heads = new Map<string, number>()
    const expectations = new Map(batch.expectations.map(({ stream, expected }) => [stream, expected]))
    // Streams with an exact expectation first: one read of each tells.
    const streams = [...batch.idsByStream].sort(
      ([a], [b]) => Number(expectations.has(b)) - Number(expectations.has(a)),
    )
    for (const [stream, ids] of streams) {
      const expected = expectations.get(stream) ?? 'any'
      const last = await this.#lastOf(stream, ids, expected)
      if (last === undefined) return undefined
      heads.set(stream, last)
    }
    return { kind: 'written', heads, positions: await this.#readPositions(batch, heads) }
  }

  /** The revision of the last of some events that were written to a stream together, if they were. */
  async #lastOf(
    stream: string,
    ids: readonly string[],
    expected: ExpectedRevision,
  ): Promise<number | undefined> {
    const last = ids.at(-1)
    if (expected !== 'any' && expected !== 'exists') {
      const revision = (expected === 'none' ? -1 : expected) + ids.length
      const page = await this.#reader.page(stream, { direction: 'forwards', from: revision, count: 1 })
      return page?.records[0]?.id === last ? revision : undefined
    }
    const pages = this.#reader.stream({
      stream,
      direction: 'backwards',
      from: undefined,
      to: undefined,
      limit: undefined,
    })
    for await (const page of pages) {
      const found = page.find(({ id }) => id === last)
      if (found) return found.revision
    }
    return undefined
  }
}

/** Bytes of data up to which `appendToStream` is quicker than `appendRecords`. */
const MAX_SMALL_APPEND_BYTES = 64 * 1024

function inDoubt(error: unknown): OutcomeUnknownError {
  return new OutcomeUnknownError(
    'the connection to KurrentDB was lost, or it did not answer, while it was appending',
    {
      cause: causeOf(error),
    },
  )
}

/**
 * The position of the last event that this process has written. Later events lie after it. If one does not, the log was
 * restored to an earlier point, and cached states rest on events that it lacks.
 */
class History {
  #head = -1n
  #isRewound = false

  /** The position of the last event that was written. */
  get head(): bigint {
    return this.#head
  }

  /** @throws HistoryRewoundError */
  check(): void {
    if (!this.#isRewound) return
    throw new HistoryRewoundError(
      'the store lacks events that this program has written: it was restored to an earlier point. Open it anew',
    )
  }

  /**
   * Notes the position of a written event.
   *
   * @param before the head when the event was sent, if it certainly was not stored before.
   * @throws HistoryRewoundError
   */
  saw({ commit }: LogPosition, before: bigint | undefined): void {
    if (before !== undefined && commit <= before) this.#isRewound = true
    this.check()
    if (commit > this.#head) this.#head = commit
  }
}
