import type { KurrentEvent, LogPosition } from './driver.ts'

/** A record on its way into the log. */
export interface LaidRecord {
  readonly stream: string
  readonly event: KurrentEvent
  /** Bytes of its data. */
  readonly dataBytes: number
}

/** How the server keeps the metadata: as the JSON that it gets, or, from `appendRecords`, as a message of its own. */
export type MetadataForm = 'json' | 'properties'

/**
 * The positions of the records of an append, from that of the last one. The server answers with no other, and writes the
 * records one behind the other, in a format that has been the same since 2018. Reading them back takes several times as long
 * (docs/decisions/0045).
 */
export function positionsBefore(
  last: LogPosition,
  records: readonly LaidRecord[],
  form: MetadataForm,
): LogPosition[] {
  const positions: LogPosition[] = new Array<LogPosition>(records.length)
  positions[records.length - 1] = last
  let at = last.prepare
  for (let i = records.length - 2; i >= 0; i--) {
    at -= BigInt(sizeOf(records[i]!, form))
    positions[i] = { commit: at, prepare: at }
  }
  return positions
}

function sizeOf({ stream, event, dataBytes }: LaidRecord, form: MetadataForm): number {
  const { metadata, type } = event
  const metadataBytes =
    form === 'json' ? Buffer.byteLength(JSON.stringify(metadata)) : propertiesBytes(metadata)
  return FIXED_RECORD_BYTES + lengthPrefixed(stream) + lengthPrefixed(type) + dataBytes + metadataBytes
}

/**
 * Length before and after (4 bytes each), type, version, position (8), flags (2), transaction (8, 4), expected
 * version (8), two UUIDs, time (8), lengths of data and metadata (4 each).
 */
const FIXED_RECORD_BYTES = 2 * 4 + 1 + 1 + 8 + 2 + 8 + 4 + 8 + 2 * 16 + 8 + 2 * 4

/** Bytes of a `google.protobuf.Struct` of strings. */
function propertiesBytes(metadata: Readonly<Record<string, string>>): number {
  let bytes = 0
  for (const [key, value] of Object.entries(metadata)) {
    const text = 1 + lengthPrefixed(value)
    const entry = 1 + lengthPrefixed(key) + 1 + prefixed(text)
    bytes += 1 + prefixed(entry)
  }
  return bytes
}

function lengthPrefixed(text: string): number {
  return prefixed(Buffer.byteLength(text))
}

/** So many bytes with their number before them, seven bits of it a byte. */
function prefixed(bytes: number): number {
  let prefix = 1
  for (let rest = bytes >>> 7; rest > 0; rest >>>= 7) prefix++
  return prefix + bytes
}
