import type { EventStore } from 'mneme'

import type { Work } from './command.ts'
import { UsageError } from './errors.ts'
import { EVENT_COLUMNS, whole } from './events.ts'

export interface ReadOptions {
  readonly category?: readonly string[]
  readonly type?: readonly string[]
  readonly from?: number
  readonly after?: string
  readonly limit?: number
  readonly backwards?: boolean
  readonly full?: boolean
  readonly json?: boolean
}

/** Reads the events of a stream, or of all streams in their order. */
export async function read({ store, terminal, args, signal }: Work, options: ReadOptions): Promise<void> {
  const { category, type, from, after, limit, full, json } = options
  const direction = options.backwards === true ? 'backwards' : 'forwards'
  const [stream] = args
  if (stream === undefined && from !== undefined)
    throw new UsageError('--from needs a stream; for the whole store, give --after')
  if (stream !== undefined && (after ?? category ?? type) !== undefined) {
    throw new UsageError('--after, --category and --type are for reading the whole store, without a stream')
  }
  const events =
    stream === undefined
      ? store.readAll({ direction, after, limit, categories: category, types: type, signal })
      : store.read(stream, { direction, from, limit, signal })
  if (stream !== undefined) await requireStream(store, stream, signal)
  if (full !== true || json === true) return terminal.table(events, EVENT_COLUMNS)
  for await (const event of events) await terminal.line(`${whole(event, terminal)}\n`)
}

/** @throws UsageError if nothing is recorded of the stream: its name is likely a typing error. */
export async function requireStream(store: EventStore, stream: string, signal: AbortSignal): Promise<void> {
  for await (const event of store.read(stream, { direction: 'backwards', limit: 1, signal })) {
    if (event.stream === stream) return
  }
  throw new UsageError(`the store has no event of a stream '${stream}'`)
}
