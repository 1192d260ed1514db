import type { NamedSnapshot, Snapshot, SnapshotKeeper } from '../../adapter/store-adapter.ts'
import { environment } from '../../base/environment.ts'
import { StreamDeletedError } from '../../base/errors.ts'
import { sha256 } from '../../base/hash.ts'
import { RESERVED_STREAMS } from '../../model/names.ts'
import type { Calls } from './connection.ts'
import { asMnemeError } from './errors.ts'
import type { Reader } from './read.ts'
import { retryUntilReached } from './retry.ts'

/**
 * Snapshots in streams that the server cuts to their last event: one for each stream that has a snapshot. Aggregates that
 * fold the same stream under different names replace each other's.
 */
export class Snapshots implements SnapshotKeeper {
  readonly #calls: Calls
  readonly #reader: Reader
  /** Streams that are known to be cut to their last event. */
  readonly #limited = new Set<string>()

  constructor(calls: Calls, reader: Reader) {
    this.#calls = calls
    this.#reader = reader
  }

  async get(stream: string, name: string): Promise<Snapshot | undefined> {
    const kept = keptIn(await this.#last(streamOf(stream)))
    if (kept?.stream !== stream || kept.name !== name) return undefined
    const { revision, id, content } = kept
    return { revision, id, content }
  }

  /** The server cannot write under a condition on an event, so that is looked for before, and again after. */
  async put(snapshot: NamedSnapshot): Promise<boolean> {
    if (!(await this.#isThere(snapshot))) return false
    const stream = streamOf(snapshot.stream)
    await this.#limit(stream)
    const { name, revision, id, content } = snapshot
    await this.#write(stream, TYPE, { stream: snapshot.stream, name, revision, id, content })
    if (await this.#isThere(snapshot)) return true
    await this.delete(snapshot.stream)
    return false
  }

  /** Deletes a snapshot whose event was erased, because it lies before a revision. */
  async deleteBefore(stream: string, revision: number): Promise<void> {
    const kept = keptIn(await this.#last(streamOf(stream)))
    if (kept && kept.revision < revision) await this.delete(stream)
  }

  /** Cuts off what is there. A later snapshot goes on behind it. */
  async delete(stream: string): Promise<void> {
    const name = streamOf(stream)
    const last = await this.#last(name)
    if (last) await this.#write(`$$${name}`, '$metadata', { $maxCount: 1, $tb: Number(last.revision) + 1 })
  }

  async #last(stream: string) {
    const page = await this.#reader.page(stream, { direction: 'backwards', from: undefined, count: 1 })
    return page?.records[0]
  }

  async #isThere({ stream, revision, id }: NamedSnapshot): Promise<boolean> {
    try {
      const page = await this.#reader.page(stream, { direction: 'forwards', from: revision, count: 1 })
      const [record] = page?.records ?? []
      return record !== undefined && Number(record.revision) === revision && record.id === id
    } catch (error) {
      if (error instanceof StreamDeletedError) return false
      throw error
    }
  }

  async #limit(stream: string): Promise<void> {
    if (this.#limited.has(stream)) return
    // What is set already stays, because it may cut off a deleted snapshot.
    if (!(await this.#last(`$$${stream}`))) await this.#write(`$$${stream}`, '$metadata', { $maxCount: 1 })
    if (this.#limited.size >= MAX_LIMITED_STREAMS) this.#limited.clear()
    this.#limited.add(stream)
  }

  async #write(stream: string, type: string, data: Record<string, unknown>): Promise<void> {
    const event = {
      id: environment.uuid(),
      type,
      contentType: 'application/json',
      data,
      metadata: {},
    } as const
    const bytes = Buffer.byteLength(JSON.stringify(data))
    try {
      await retryUntilReached(this.#calls, () =>
        this.#calls.appendToStream({ stream, expected: 'any' }, [event], bytes),
      )
    } catch (error) {
      throw asMnemeError(error, { stream, bytes })
    }
  }
}

/** The stream for the snapshot of a stream, whose name may be as long as a name can be. */
function streamOf(stream: string): string {
  return `${RESERVED_STREAMS}snapshot-${sha256(stream, 'hex')}`
}

/** What a record holds; with an empty text if it is not what was written. */
function keptIn(record: { readonly data: Uint8Array } | undefined): NamedSnapshot | undefined {
  if (!record) return undefined
  const kept = JSON.parse(Buffer.from(record.data).toString('utf8')) as Partial<NamedSnapshot> | null
  const { stream = '', name = '', revision = 0, id = '', content = '' } = kept ?? {}
  return { stream, name, revision, id, content }
}

const TYPE = 'mneme:Snapshot'
const MAX_LIMITED_STREAMS = 10_000
