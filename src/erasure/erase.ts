import { checkOptions } from '../base/arguments.ts'
import { environment } from '../base/environment.ts'
import { ConflictError, InvalidArgumentError, UnsupportedError } from '../base/errors.ts'
import type { Position } from '../base/revision.ts'
import { erasures, SUBJECT_ERASURES } from '../model/erasures.ts'
import type { Metadata } from '../model/metadata.ts'
import { checkSubject, type Subject } from '../model/sealed.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import type { ErasureOutcome, KeyRing } from '../store/key-ring.ts'
import type { StoreCore } from '../store/lifecycle.ts'

/** Options of {@link eraseSubject}. */
export interface EraseOptions {
  /** Why, for the event: a ticket's number, say. It stands in the log for ever, so it must hold no personal data. */
  readonly reason?: string | undefined
  /** Stored with the event. */
  readonly metadata?: Metadata | undefined
}

/** What {@link eraseSubject} has done. */
export interface ErasureReport {
  /** The keyed hash of the subject. */
  readonly subject: string
  /** When its key was destroyed: ISO 8601, UTC. */
  readonly erasedAt: string
  /**
   * `'erased'`: this call has destroyed the key. `'already-erased'`: an earlier one had. `'unknown-subject'`: there was no key, so
   * nothing was ever sealed for this subject, and nothing was erased: look whether its kind and id are right.
   */
  readonly outcome: ErasureOutcome
  /** Where the event stands that tells of it: projections that have passed it have forgotten. */
  readonly position: Position
}

/**
 * Erases the personal data of a subject: destroys its key, so that nothing that was sealed for it opens any more, wherever a copy
 * lies; then appends `mneme.SubjectErased`. Events with personal data of the subject are refused from then on, also if nothing
 * was known of it: see `outcome`.
 *
 * If it fails half-way, call it again: it finishes what is left.
 *
 * @throws KeyStoreError if the key store cannot be reached; nothing was erased then, or call it again to be sure.
 * @throws UnsupportedError if the store has no key ring; InvalidArgumentError, and the errors of `append`.
 * @example
 * ```ts
 * const report = await eraseSubject(store, subject('customer', 'c-17'), { reason: 'request 4711' })
 * if (report.outcome === 'unknown-subject') console.log('no personal data was ever stored for this subject')
 * ```
 */
export async function eraseSubject(
  store: EventStore,
  subject: Subject,
  options: EraseOptions = {},
): Promise<ErasureReport> {
  const core = coreOf(store)
  checkOptions(options, 'options', ['reason', 'metadata'])
  const { reason, metadata } = options
  if (reason !== undefined && typeof (reason as unknown) !== 'string') {
    throw new InvalidArgumentError('options.reason', 'a text without personal data')
  }
  const ring = ringOf(core)
  const hash = ring.hashOf(checkSubject(subject, 'subject'))
  const now = new Date(environment.date()).toISOString()
  const { erasedAt, outcome } = await core.track(() => ring.destroy(hash, now))
  const report = { subject: hash, erasedAt, outcome }
  // The key is gone first: whoever reads the event finds nothing to reveal any more.
  const told = erasures.SubjectErased({
    subject: hash,
    erasedAt,
    ...(reason !== undefined && { reason }),
  })
  const stream = `${SUBJECT_ERASURES}${hash}`
  try {
    const { position } = await store.append({ stream, events: [told], expected: 'none' }, { metadata })
    return { ...report, position: position! }
  } catch (error) {
    if (!(error instanceof ConflictError)) throw error
    for await (const { position } of store.read(stream, { limit: 1 })) return { ...report, position }
    throw error
  }
}

/**
 * Destroys the key of every subject whose erasure the store has told of: after the key store was restored from a backup, which
 * brings destroyed keys back.
 *
 * @returns how many erasures there were.
 * @throws KeyStoreError, UnsupportedError
 * @example
 * ```ts
 * console.log(await repeatErasures(store))
 * ```
 */
export async function repeatErasures(store: EventStore): Promise<number> {
  const core = coreOf(store)
  const ring = ringOf(core)
  let count = 0
  for await (const { data, stream } of store.readAll({ types: [erasures.SubjectErased] })) {
    if (!stream.startsWith(SUBJECT_ERASURES)) continue
    const { subject, erasedAt } = data as { readonly subject: string; readonly erasedAt: string }
    await core.track(() => ring.destroy(subject, erasedAt))
    count++
  }
  return count
}

/** @throws UnsupportedError if the store has no key ring. */
function ringOf({ options: { personal } }: StoreCore): KeyRing {
  if (personal) return personal
  const message =
    'this store has no keys to destroy: open the store with { personal: keyRing(...) } of mneme/erasure'
  throw new UnsupportedError(message)
}
