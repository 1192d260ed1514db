import { deletedStream, type Log } from './log.ts'
import { readEvent } from './reading.ts'
import { isSoftDeleted } from './stream-metadata.ts'
import type { WriterMemory } from './writer-memory.ts'

/** What a stream can be expected to be, beside a revision. */
export const expected = {
  noStream: -1n,
  any: -2n,
  exists: -4n,
  softDeleted: -5n,
  tombstoned: deletedStream,
} as const

/** A stream of an append, with the ids of the events that go there; none: it is only checked. */
export interface StreamCheck {
  readonly stream: string
  readonly expected: bigint
  readonly ids: readonly string[]
}

export type Decision =
  | { readonly kind: 'ok'; readonly current: bigint; readonly isSoftDeleted: boolean }
  | { readonly kind: 'written'; readonly current: bigint; readonly last: bigint; readonly position: bigint }
  | { readonly kind: 'failed'; readonly current: bigint; readonly isSoftDeleted: boolean }

/** Whether a stream is as expected, or has the events already. */
export function decide(log: Log, memory: WriterMemory, check: StreamCheck): Decision {
  const { stream, ids } = check
  const current = memory.lastRevision(stream)
  const ok = (isDeleted = isSoftDeleted(log, stream)): Decision => ({
    kind: 'ok',
    current,
    isSoftDeleted: isDeleted,
  })
  const failed = (isDeleted = false): Decision => ({ kind: 'failed', current, isSoftDeleted: isDeleted })

  if (current === deletedStream) {
    const isNoStream = check.expected === expected.any || check.expected === expected.noStream
    return ids.length === 0 && (isNoStream || check.expected === expected.tombstoned) ? ok(false) : failed()
  }
  if (check.expected === expected.exists) {
    if (isSoftDeleted(log, stream)) return failed(true)
    if (current < 0n && memory.lastRevision(`$$${stream}`) < 0n) return failed()
  }

  // No revision is expected: only the memory knows where the events would be.
  if (check.expected < expected.noStream) {
    const places = ids.map((id) => memory.find(stream, id))
    const fresh = places.indexOf(undefined)
    if (fresh > 0) return failed()
    if (fresh === 0 || ids.length === 0) {
      if (check.expected === expected.softDeleted && !isSoftDeleted(log, stream)) return failed()
      return ok()
    }
    return repeated(log, stream, current, places.at(-1)!)
  }

  // The events would be in one place only, and are looked for there, in the log too.
  if (check.expected < current) {
    const events = log.eventsOf(stream)
    const isThere = (id: string, i: number) => events[Number(check.expected) + 1 + i]?.id === id
    const isRemembered = (id: string, i: number) =>
      memory.find(stream, id) === check.expected + 1n + BigInt(i)
    const fresh = ids.findIndex((id, i) => !isRemembered(id, i) && !isThere(id, i))
    if (fresh > 0) return failed()
    if (fresh === 0 || ids.length === 0) {
      return check.expected === expected.noStream && isSoftDeleted(log, stream) ? ok(true) : failed()
    }
    return repeated(log, stream, current, check.expected + BigInt(ids.length))
  }
  return check.expected > current ? failed() : ok()
}

/** The position is that of the last event, where that can still be read. */
function repeated(log: Log, stream: string, current: bigint, last: bigint): Decision {
  return { kind: 'written', current, last, position: readEvent(log, stream, last)?.position ?? -1n }
}
