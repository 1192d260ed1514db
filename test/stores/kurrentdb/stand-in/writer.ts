import { decide, expected, type Decision, type StreamCheck } from './consistency.ts'
import { deletedStream, nothing, type Log, type NewRecord } from './log.ts'
import { isMetastream, isSoftDeleted, originalOf, withTruncateBefore } from './stream-metadata.ts'
import { WriterMemory } from './writer-memory.ts'

/** An event on its way, with the number of its stream among those of the append. */
export type ProposedEvent = Omit<NewRecord, 'stream'> & { readonly streamIndex: number }

export interface Write {
  readonly streams: readonly { readonly name: string; readonly expected: bigint }[]
  readonly events: readonly ProposedEvent[]
}

/** A stream that was not as expected. */
export interface Failure {
  readonly streamIndex: number
  readonly expected: bigint
  readonly current: bigint
  readonly isSoftDeleted: boolean
}

export type WriteResult =
  | {
      readonly kind: 'written'
      /** The last revision of each stream written to. */
      readonly last: readonly bigint[]
      /** That of the last record; -1 where a repeat's cannot be read any more. */
      readonly position: bigint
    }
  | { readonly kind: 'failed'; readonly failures: readonly Failure[] }

/** What v1 calls a deleted stream: tombstoned, or soft-deleted and expected to be there. */
export function isStreamDeleted(failures: readonly Failure[]): boolean {
  return failures.some(
    (failure) =>
      failure.current === deletedStream || (failure.expected === expected.exists && failure.isSoftDeleted),
  )
}

/** The only one who writes to the log, one write after the other. */
export class Writer {
  readonly memory: WriterMemory
  readonly #log: Log

  constructor(log: Log) {
    this.#log = log
    this.memory = new WriterMemory(log)
  }

  write({ streams, events }: Write): WriteResult {
    const idsOf = (index: number) =>
      events.filter(({ streamIndex }) => streamIndex === index).map(({ id }) => id)
    const checks = streams.map(({ name, expected }, i): StreamCheck => ({
      stream: name,
      expected,
      ids: idsOf(i),
    }))
    const decisions = checks.map((check) => decide(this.#log, this.memory, check))
    const verdict = verdictOn(checks, decisions)
    if (verdict) return verdict

    const deletedMeta = checks.map(
      ({ stream }) => isMetastream(stream) && isSoftDeleted(this.#log, originalOf(stream)),
    )
    const next = decisions.map(({ current }) => current + 1n)
    let position = -1n
    for (const { streamIndex, ...event } of events) {
      position = this.#append({ ...event, stream: checks[streamIndex]!.stream }, next[streamIndex]!++)
    }
    // Nothing, appended to one stream: it takes room, and brings a deleted stream back.
    if (events.length === 0) position = this.#log.append(nothing(checks[0]!.stream)).position

    for (const [i, { stream, ids }] of checks.entries()) {
      const decision = decisions[i]!
      if (ids.length === 0 && events.length > 0) continue
      if (decision.kind === 'ok' && decision.isSoftDeleted) this.#undelete(stream, decision.current + 1n)
      if (deletedMeta[i])
        this.#undelete(originalOf(stream), this.memory.lastRevision(originalOf(stream)) + 1n)
    }
    return { kind: 'written', last: next.map((revision) => revision - 1n), position }
  }

  softDelete(stream: string, expectedRevision: bigint): WriteResult {
    const check = { stream, expected: expectedRevision, ids: [crypto.randomUUID()] }
    const decision = decide(this.#log, this.memory, check)
    const verdict = verdictOn([check], [decision])
    if (verdict) return verdict
    const metastream = `$$${stream}`
    const last = this.memory.lastRevision(metastream)
    if (this.memory.lastRevision(stream) < 0n && last < 0n) {
      return { kind: 'failed', failures: [failureOf(0, check, decision)] }
    }
    const data = Buffer.from(`{"$tb":${String(deletedStream)}}`)
    return {
      kind: 'written',
      last: [last + 1n],
      position: this.#append(metadataEvent(metastream, data), last + 1n),
    }
  }

  tombstone(stream: string, expectedRevision: bigint): WriteResult {
    const record = { ...nothing(stream), type: '$streamDeleted' }
    const check = { stream, expected: expectedRevision, ids: [record.id] }
    const verdict = verdictOn([check], [decide(this.#log, this.memory, check)])
    return (
      verdict ?? {
        kind: 'written',
        last: [deletedStream - 1n],
        position: this.#append(record, deletedStream),
      }
    )
  }

  #append(record: NewRecord, revision: bigint): bigint {
    this.memory.add(record.stream, record.id, revision)
    return this.#log.append(record, revision).position
  }

  /** The stream's events begin at the revision; what was before stays deleted. */
  #undelete(stream: string, revision: bigint): void {
    const metastream = `$$${stream}`
    const events = this.#log.eventsOf(metastream)
    const data = withTruncateBefore(events.at(-1)?.data ?? new Uint8Array(), revision)
    if (data) this.#append(metadataEvent(metastream, data), BigInt(events.length))
  }
}

/** What is not to be written; `undefined`: everything is as expected. */
function verdictOn(checks: readonly StreamCheck[], decisions: readonly Decision[]): WriteResult | undefined {
  if (decisions.every(({ kind }) => kind === 'ok')) return undefined
  const targets = decisions.filter((_, i) => checks[i]!.ids.length > 0)
  // It was written before: then what is only checked may have changed since.
  if (targets.length > 0 && targets.every(({ kind }) => kind === 'written')) {
    const positions = targets.map((decision) => (decision.kind === 'written' ? decision.position : -1n))
    return {
      kind: 'written',
      last: decisions.map((decision) => (decision.kind === 'written' ? decision.last : -2n)),
      position: positions.reduce((most, position) => (position > most ? position : most)),
    }
  }
  const failures = decisions.flatMap((decision, i) =>
    decision.kind === 'ok' ? [] : [failureOf(i, checks[i]!, decision)],
  )
  return { kind: 'failed', failures }
}

function failureOf(streamIndex: number, check: StreamCheck, decision: Decision): Failure {
  const isDeleted = decision.kind === 'failed' && decision.isSoftDeleted
  return { streamIndex, expected: check.expected, current: decision.current, isSoftDeleted: isDeleted }
}

function metadataEvent(stream: string, data: Uint8Array): NewRecord {
  return { ...nothing(stream), type: '$metadata', isJson: true, data }
}
