import { checkBoolean, checkIterable, checkOptions, checkSignal, checkWhole } from '../base/arguments.ts'
import { InvalidArgumentError, quote, StreamTruncatedError } from '../base/errors.ts'
import { checkFunction } from '../base/functions.ts'
import type { Position, Revision } from '../base/revision.ts'
import { nextRevision } from '../adapter/append-rules.ts'
import type { AnyStream } from '../model/stream.ts'
import { streamName } from '../store/arguments.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import { KeysInOrder } from './export.ts'
import type { ExportedEvent, ExportedKey } from './recorded.ts'

/** Options of `archiveStream`. */
export interface ArchiveOptions {
  /** Archive the events before this revision. Default: all. */
  readonly before?: number | undefined
  /** Takes lines of JSON, each with its line break; the next ones come once its promise has resolved. */
  readonly to: (lines: string) => unknown
  /**
   * Whether the idempotency keys of appends to this stream alone come with the events, so that a call that is repeated is a
   * repeat where the archive is imported. Default: `false`, because it reads all keys of the store that were used meanwhile.
   */
  readonly keys?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** What `archiveStream` resolves with. */
export interface Archived {
  /** How many events were archived. */
  readonly events: number
  /** How many idempotency keys came with them. */
  readonly keys: number
  /** Where the stream stood: `expected` of `truncate` or `delete`, so that nothing is erased that is not in the archive. */
  readonly head: Revision
}

/**
 * Writes a stream's events as lines of JSON, with everything that was recorded of them, before they are erased. Once the lines
 * are durable, truncate or delete the stream.
 *
 * @throws what `to` throws; InvalidArgumentError if the stream does not reach so far; StreamTruncatedError if it was truncated
 *   meanwhile; the errors of `read`.
 * @example
 * ```ts
 * import { open } from 'node:fs/promises'
 * import { openStore } from 'mneme'
 * import { archiveStream } from 'mneme/history'
 *
 * const store = await openStore('sqlite:bank.db')
 * const file = await open('door-front.jsonl', 'wx')
 * const { head } = await archiveStream(store, 'Door-front', { to: (lines) => file.appendFile(lines) })
 * await file.sync()
 * await file.close()
 * await store.delete('Door-front', { expected: head })
 * ```
 */
export async function archiveStream(
  store: EventStore,
  stream: string | AnyStream,
  options: ArchiveOptions,
): Promise<Archived> {
  coreOf(store)
  const name = streamName(stream, 'stream')
  const { before, to, keys: withKeys = false } = checkOptions(options, 'options', OPTIONS)
  const signal = checkSignal(options.signal)
  checkFunction(to, 'to')
  checkBoolean(withKeys, 'keys')
  if (before !== undefined) checkWhole(before, 'before', 0)
  const head = await store.head(name)
  const end = nextRevision(head)
  if (before !== undefined && before > end) {
    throw new InvalidArgumentError('before', {
      message: `cannot archive stream ${quote(name)} before revision ${String(before)}: give at most ${String(end)}`,
    })
  }
  const last = (before ?? end) - 1
  if (last < 0) return { events: 0, keys: 0, head }
  let [events, keys] = [0, 0]
  let lines = ''
  let next: number | undefined
  const own = withKeys ? await KeysOfStream.open(store, name, last) : undefined
  // By its name, so that the events come as they are recorded, and not as the aggregate knows them now.
  try {
    for await (const event of store.read(name, { to: last, signal })) {
      if (next !== undefined && event.revision !== next) throw new StreamTruncatedError(name, event.revision)
      next = event.revision + 1
      const kept = (await own?.beginningWith(event.position)) ?? []
      events++
      keys += kept.length
      lines += `${JSON.stringify(kept.length > 0 ? { ...event, keys: kept } : event)}\n`
      if (lines.length < LINES_LENGTH) continue
      await to(lines)
      lines = ''
    }
  } finally {
    await own?.end()
  }
  if (lines !== '') await to(lines)
  return { events, keys, head }
}

const OPTIONS = ['before', 'to', 'keys', 'signal'] as const

/** The idempotency keys that cover events of one stream, and no others. */
class KeysOfStream {
  readonly #store: EventStore
  readonly #stream: string
  readonly #keys: KeysInOrder
  /** The position of the last event that is archived. */
  readonly #last: Position

  private constructor(store: EventStore, stream: string, keys: KeysInOrder, last: Position) {
    this.#store = store
    this.#stream = stream
    this.#keys = keys
    this.#last = last
  }

  /** @returns `undefined` if the stream has no events up to a revision. */
  static async open(store: EventStore, stream: string, last: number): Promise<KeysOfStream | undefined> {
    const [first] = (await store.readPage(stream, { limit: 1 })).events
    const [end] = (await store.readPage(stream, { from: last, limit: 1 })).events
    if (!first || !end) return undefined
    const before = { direction: 'backwards', after: first.position, limit: 1 } as const
    const [previous] = (await store.readAllPage(before)).events
    const keys = new KeysInOrder(coreOf(store).keysForUser(previous?.position))
    return new KeysOfStream(store, stream, keys, end.position)
  }

  async beginningWith(position: Position): Promise<ExportedKey[]> {
    const own: ExportedKey[] = []
    for (const key of await this.#keys.beginningWith(position)) {
      if (key.through <= this.#last && (await this.#isOwn(key, position))) own.push(key)
    }
    return own
  }

  end(): Promise<void> {
    return this.#keys.end()
  }

  async #isOwn({ through, streams }: ExportedKey, from: Position): Promise<boolean> {
    if (streams.length === 1) return true
    if (from === through) return true
    for await (const { stream } of this.#store.readAll({ after: from, to: through })) {
      if (stream !== this.#stream) return false
    }
    return true
  }
}

/**
 * Gives the events in lines of JSON, as `archiveStream` wrote them: text or bytes, whole or in chunks of any size. The input of
 * `importEvents`.
 *
 * @throws InvalidArgumentError if a line is no event, or is empty and others follow; what the chunks throw.
 */
export async function* eventsInArchive(
  chunks: string | Uint8Array | AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>,
): AsyncGenerator<ExportedEvent, undefined> {
  const isWhole = typeof chunks === 'string' || chunks instanceof Uint8Array
  const parts = isWhole ? [chunks] : checkIterable(chunks, 'chunks', CHUNKS)
  const decoder = new TextDecoder()
  const lines = new ArchiveLines()
  let rest = ''
  for await (const chunk of parts) {
    const complete = (rest + textOf(chunk, decoder)).split('\n')
    rest = complete.pop()!
    for (const line of complete) {
      const event = lines.next(line)
      if (event) yield event
    }
  }
  const last = lines.next(rest + decoder.decode())
  if (last) yield last
  return undefined
}

const CHUNKS = "an archive's text or bytes, or a stream of these, like createReadStream(path)"

/** @throws InvalidArgumentError */
function textOf(chunk: string | Uint8Array, decoder: InstanceType<typeof TextDecoder>): string {
  if (typeof chunk === 'string') return chunk
  if (!((chunk as unknown) instanceof Uint8Array)) throw new InvalidArgumentError('chunks', CHUNKS)
  return decoder.decode(chunk, { stream: true })
}

class ArchiveLines {
  #number = 0
  #empty: number | undefined

  /** The event in the next line; `undefined` if it is empty, as the end of a text file may be. @throws InvalidArgumentError */
  next(line: string): ExportedEvent | undefined {
    this.#number++
    if (line.trim() === '') {
      this.#empty ??= this.#number
      return undefined
    }
    if (this.#empty !== undefined) {
      throw brokenLine(this.#empty, 'is empty, and others follow: some of it may be missing')
    }
    let event: unknown
    try {
      event = JSON.parse(line)
    } catch {
      throw brokenLine(this.#number, 'is no JSON: it may have been cut off')
    }
    if (typeof event === 'object' && event !== null && !Array.isArray(event)) return event as ExportedEvent
    throw brokenLine(this.#number, 'is no event: it may be another file')
  }
}

function brokenLine(number: number, problem: string): InvalidArgumentError {
  const message = `line ${String(number)} of the archive ${problem}; archive the stream again`
  return new InvalidArgumentError('chunks', { message })
}

/** Length of the lines that are handed over together. */
const LINES_LENGTH = 64 * 1024
