import { currentTime, pause } from '../../base/clock.ts'
import { environment } from '../../base/environment.ts'
import type { Position, Revision } from '../../base/revision.ts'
import { unneededErasure } from '../../adapter/append-rules.ts'
import type { Capabilities, EraseRequest, EraseVerdict, NewEvent } from '../../adapter/store-adapter.ts'
import { isMnemeError, OutcomeUnknownError, StreamDeletedError } from '../../base/errors.ts'
import type { Calls, StreamExpectation, StreamRecord, Written } from './connection.ts'
import { asMnemeError, causeOf, faultOf } from './errors.ts'
import { formatLogPosition } from './position.ts'
import { retryDelays } from './retry.ts'
import type { Reader } from './read.ts'
import { toKurrent, toStored } from './rows.ts'
import type { Snapshots } from './snapshots.ts'

/**
 * Truncates and deletes streams by the server's own means: `$tb` in the stream's metadata, and tombstones.
 *
 * The notice goes in the same append as `$tb`. A tombstone is a call of its own, so its notice is written just before it, under
 * a check that the stream stands where it is to be deleted. If the process dies in between, the notice tells of a deletion
 * that did not happen yet; deleting again makes up for it.
 */
export class Eraser {
  readonly #calls: Calls
  readonly #reader: Reader
  readonly #isModern: boolean
  readonly #snapshots: Snapshots

  constructor(
    calls: Calls,
    reader: Reader,
    snapshots: Snapshots,
    { severalStreams }: Pick<Capabilities, 'severalStreams'>,
  ) {
    this.#snapshots = snapshots
    this.#calls = calls
    this.#reader = reader
    this.#isModern = severalStreams
  }

  /** @throws OutcomeUnknownError if the connection was lost: it may be called again. */
  async erase(request: EraseRequest): Promise<EraseVerdict> {
    const verdict = await this.#eraseEvents(request)
    // A snapshot goes with its event. An earlier call may have been interrupted before that.
    const isErased = verdict.kind !== 'conflict' && verdict.kind !== 'beyond'
    if (isErased) await this.#snapshots.deleteBefore(request.stream, request.before ?? Infinity)
    return verdict
  }

  async #eraseEvents(request: EraseRequest): Promise<EraseVerdict> {
    const { stream } = request
    const giveUpAt = this.#calls.clock.now() + this.#calls.deadline
    for (const delay of retryDelays()) {
      try {
        return await this.#attempt(request)
      } catch (error) {
        if (error instanceof StreamDeletedError) return { kind: 'erased', stream, firstRevision: undefined }
        if (isMnemeError(error)) throw error
        const { kind } = faultOf(error)
        if (kind === 'tombstoned') return { kind: 'erased', stream, firstRevision: undefined }
        if (kind === 'lost' || kind === 'late' || kind === 'thrown') {
          throw new OutcomeUnknownError(IN_DOUBT, { cause: causeOf(error) })
        }
        if (kind === 'not-leader') await this.#calls.reconnect()
        // Another writer came first, or there was no server: nothing was erased.
        const isWorthwhile = kind === 'violated' || kind === 'not-sent' || kind === 'not-leader'
        if (!isWorthwhile || this.#calls.clock.now() + delay > giveUpAt) throw asMnemeError(error, { stream })
      }
      await pause(this.#calls.clock, delay)
    }
    throw new Error('retry delays never end')
  }

  /** @throws what the driver throws, if the stream has moved on as well. */
  async #attempt(request: EraseRequest): Promise<EraseVerdict> {
    const { stream, before, notice } = request
    const head = await this.#reader.head(stream)
    const metadata = await this.#metadataOf(stream)
    const unneeded = unneededErasure(request, head, metadata.truncatedBefore)
    if (unneeded) return unneeded
    const told = { stream: notice.stream, event: toKurrent(notice, { time: currentTime() }) }
    if (before === undefined) {
      const position =
        (await this.#noticed(notice)) ?? (await this.#write([told], { stream, expected: head }))
      await this.#calls.tombstone(stream, head)
      return { kind: 'done', position }
    }
    const event = {
      ...{ id: environment.uuid(), type: '$metadata', contentType: 'application/json' as const },
      ...{ data: { ...metadata.fields, $tb: before }, metadata: {} },
    }
    const changed = { stream: `$$${stream}`, event }
    const position = await this.#write([changed, told], { stream, expected: head }, metadata.revision)
    return { kind: 'done', position }
  }

  /** The position of the notice, if it is the last one: an earlier call was interrupted before the tombstone. */
  async #noticed({ stream, id }: NewEvent): Promise<Position | undefined> {
    const page = await this.#reader.page(stream, { direction: 'backwards', from: undefined, count: 1 })
    const [last] = page?.records ?? []
    return last?.id === id && last.position ? formatLogPosition(last.position) : undefined
  }

  /** Sees to it that a stream will begin at a revision, which it has not reached. @throws what the driver throws */
  async truncateAhead(stream: string, before: number): Promise<void> {
    const { fields, revision, truncatedBefore } = await this.#metadataOf(stream)
    if (truncatedBefore >= before) return
    const event = {
      ...{ id: environment.uuid(), type: '$metadata', contentType: 'application/json' as const },
      ...{ data: { ...fields, $tb: before }, metadata: {} },
    }
    await this.#calls.appendToStream({ stream: `$$${stream}`, expected: revision }, [event])
  }

  /** Appends records, all at once if the server can. Otherwise, the notice comes first. @returns the position of the last one. */
  async #write(
    records: readonly StreamRecord[],
    checked: StreamExpectation,
    metadataRevision?: Revision,
  ): Promise<Position> {
    const changed = records.length > 1 ? records[0] : undefined
    const expectations = [checked]
    if (changed) expectations.push({ stream: changed.stream, expected: metadataRevision! })
    let written: Written
    if (this.#isModern) written = await this.#calls.appendRecords(records, expectations)
    else {
      const { stream, event } = records.at(-1)!
      written = await this.#calls.appendToStream({ stream, expected: 'any' }, [event])
      if (changed) await this.#calls.appendToStream(expectations[1]!, [changed.event])
    }
    return formatLogPosition(written.position!)
  }

  async #metadataOf(stream: string): Promise<Metadata> {
    const page = await this.#reader.page(`$$${stream}`, { direction: 'backwards', from: undefined, count: 1 })
    const [record] = page?.records ?? []
    if (!record) return { revision: 'none', truncatedBefore: 0, fields: {} }
    const fields = JSON.parse(toStored(record).data) as Readonly<Record<string, unknown>>
    const { $tb: before } = fields
    return {
      revision: Number(record.revision),
      truncatedBefore: typeof before === 'number' ? before : 0,
      fields,
    }
  }
}

/** A stream's metadata: what the server keeps of it. */
interface Metadata {
  readonly revision: Revision
  /** The first revision that the stream has, as far as it was truncated. */
  readonly truncatedBefore: number
  readonly fields: Readonly<Record<string, unknown>>
}

const IN_DOUBT = 'the connection was lost while erasing, and what became of it is not known: call it again'
