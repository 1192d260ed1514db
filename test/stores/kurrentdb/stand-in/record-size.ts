import type { NewRecord } from './log.ts'

/** What a record has beside its texts and its bytes: flags, numbers, ids, lengths. */
const fixedPart = 88

/** How many bytes of the log a record takes, which is what positions count. */
export function sizeOnDisk({ stream, type, data, metadata }: NewRecord): number {
  return fixedPart + textSize(stream) + textSize(type) + data.length + metadata.length
}

/** In UTF-8, behind its length in groups of seven bits. */
function textSize(text: string): number {
  const size = Buffer.byteLength(text)
  return size === 0 ? 1 : size + Math.floor(Math.floor(Math.log2(size)) / 7) + 1
}

/** What the limits of v1 count, which is not what the log takes. */
export function appendSize({ type, data, metadata }: Pick<NewRecord, 'type' | 'data' | 'metadata'>): number {
  return data.length + metadata.length + type.length * 2
}

export const limits = {
  /** Of one event, where it is not configured. */
  event: 16 * 1024 * 1024,
  /** Of the events of one append. */
  append: 256 * 1024 * 1024,
  /** Of what the log takes, which nothing configures; above it, the server fails. */
  record: 16 * 1024 * 1024 - 10_000,
} as const
