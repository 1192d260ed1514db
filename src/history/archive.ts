import { checkOptions, checkSignal, checkWhole } from '../base/arguments.ts'
import { InvalidArgumentError, quote, StreamTruncatedError } from '../base/errors.ts'
import { checkFunction } from '../base/functions.ts'
import type { Revision } from '../base/revision.ts'
import { nextRevision } from '../adapter/append-rules.ts'
import type { AnyStream } from '../model/stream.ts'
import { streamName } from '../store/arguments.ts'
import type { EventStore } from '../store/event-store.ts'
import type { ExportedEvent } from './recorded.ts'

/** Options of `archiveStream`. */
export interface ArchiveOptions {
  /** Archive the events before this revision. Default: all. */
  readonly before?: number | undefined
  /** Takes lines of JSON, each with its line break; the next ones come once its promise has resolved. */
  readonly to: (lines: string) => unknown
  readonly signal?: AbortSignal | undefined
}

/** What `archiveStream` resolves with. */
export interface Archived {
  /** How many events were archived. */
  readonly events: number
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
  const name = streamName(stream, 'stream')
  const { before, to } = checkOptions(options, 'options', ['before', 'to', 'signal'])
  const signal = checkSignal(options.signal)
  checkFunction(to, 'to')
  if (before !== undefined) checkWhole(before, 'before', 0)
  const head = await store.head(name)
  const end = nextRevision(head)
  if (before !== undefined && before > end) {
    throw new InvalidArgumentError('before', {
      message: `cannot archive stream ${quote(name)} before revision ${String(before)}: give at most ${String(end)}`,
    })
  }
  const last = (before ?? end) - 1
  if (last < 0) return { events: 0, head }
  let events = 0
  let lines = ''
  let next: number | undefined
  // By its name, so that the events come as they are recorded, and not as the aggregate knows them now.
  for await (const event of store.read(name, { to: last, signal })) {
    if (next !== undefined && event.revision !== next) throw new StreamTruncatedError(name, event.revision)
    next = event.revision + 1
    events++
    lines += `${JSON.stringify(event)}\n`
    if (lines.length < LINES_LENGTH) continue
    await to(lines)
    lines = ''
  }
  if (lines !== '') await to(lines)
  return { events, head }
}

/**
 * Gives the events in lines of JSON, as `archiveStream` wrote them: text or bytes, in chunks of any size. The input of
 * `importEvents`.
 *
 * @throws InvalidArgumentError if a line is no JSON; what the chunks throw.
 */
export async function* eventsInArchive(
  chunks: AsyncIterable<string | Uint8Array> | Iterable<string | Uint8Array>,
): AsyncGenerator<ExportedEvent, undefined> {
  const decoder = new TextDecoder()
  let rest = ''
  let number = 0
  for await (const chunk of chunks) {
    const lines = (
      rest + (typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true }))
    ).split('\n')
    rest = lines.pop()!
    for (const line of lines) yield eventIn(line, ++number)
  }
  rest += decoder.decode()
  if (rest.trim() !== '') yield eventIn(rest, number + 1)
  return undefined
}

function eventIn(line: string, number: number): ExportedEvent {
  try {
    return JSON.parse(line) as ExportedEvent
  } catch {
    const message = `line ${String(number)} of the archive is no JSON: it may have been cut off; archive the stream again`
    throw new InvalidArgumentError('chunks', { message })
  }
}

/** Length of the lines that are handed over together. */
const LINES_LENGTH = 64 * 1024
