import { deletedStream, type Log } from './log.ts'

/** What is kept of a stream, and what is read of it. */
export interface StreamMetadata {
  readonly maxCount?: bigint
  /** In 100 ns. */
  readonly maxAge?: bigint
  readonly truncateBefore?: bigint
}

export function isMetastream(stream: string): boolean {
  return stream.startsWith('$$')
}

export function originalOf(metastream: string): string {
  return metastream.slice(2)
}

/** The last revision of a stream, -1 or `deletedStream`. A tombstone takes the stream of metadata with it. */
export function lastRevision(log: Log, stream: string): bigint {
  if (log.isTombstoned(stream)) return deletedStream
  if (isMetastream(stream) && lastRevision(log, originalOf(stream)) === deletedStream) return deletedStream
  return BigInt(log.eventsOf(stream).length) - 1n
}

/** The metadata in force. What is no metadata counts as none. */
export function metadataOf(log: Log, stream: string): StreamMetadata {
  if (isMetastream(stream)) return { maxCount: 1n }
  const metastream = `$$${stream}`
  const event = log.eventsOf(metastream).at(-1)
  if (event === undefined || !event.isJson || lastRevision(log, metastream) === deletedStream) return {}
  return parse(Buffer.from(event.data).toString())
}

export function isSoftDeleted(log: Log, stream: string): boolean {
  return metadataOf(log, stream).truncateBefore === deletedStream
}

/** Metadata with another `$tb`; `undefined` where they are none. */
export function withTruncateBefore(data: Uint8Array, revision: bigint): Uint8Array | undefined {
  try {
    const object = JSON.parse(Buffer.from(data).toString()) as unknown
    if (typeof object !== 'object' || object === null || Array.isArray(object)) return undefined
    return Buffer.from(JSON.stringify({ ...object, $tb: Number(revision) }))
  } catch {
    return undefined
  }
}

function parse(json: string): StreamMetadata {
  try {
    const object = JSON.parse(json) as Record<string, unknown>
    const maxCount = integer(object, json, '$maxCount')
    const maxAge = integer(object, json, '$maxAge')
    const truncateBefore = integer(object, json, '$tb')
    return {
      ...(maxCount !== undefined && maxCount > 0n && { maxCount }),
      ...(maxAge !== undefined && maxAge > 0n && { maxAge: maxAge * 10_000_000n }),
      ...(truncateBefore !== undefined && truncateBefore >= 0n && { truncateBefore }),
    }
  } catch {
    return {}
  }
}

/** From the text, because a number of JavaScript does not hold the largest ones. */
function integer(object: Record<string, unknown>, json: string, key: string): bigint | undefined {
  if (!(key in object)) return undefined
  const digits = new RegExp(`"\\${key}"\\s*:\\s*(-?\\d+)\\s*[,}]`).exec(json)?.[1]
  const value = digits === undefined ? undefined : BigInt(digits)
  if (value === undefined || value > deletedStream || value < -deletedStream) throw new RangeError(key)
  return value
}
