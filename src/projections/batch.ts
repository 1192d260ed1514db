import { isMnemeError, quote, UnsupportedError } from '../base/errors.ts'
import {
  checkRun,
  HandlerMisuse,
  type TargetQuery,
  type TargetRow,
  type TargetSteps,
} from '../adapter/projection-target.ts'
import { advance, checkpointAt, movedTo, pinOf, suffixOf, type Build } from './builds.ts'
import { Deadline } from './deadline.ts'
import { tableNames, type Definition, type ProjectionContext } from './define.ts'
import type { Batch, Holder } from './handling.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import { type Revealing, revealing, sealedTextsIn } from '../store/revealing.ts'
import { isThenable } from '../base/functions.ts'
import { environment } from '../base/environment.ts'

/** A handler failed. */
export class HandlerFailure extends Error {
  /** Which event of the batch failed; `undefined`: the transaction could not be committed. */
  readonly index: number | undefined
  /** What happens to the event at once, without a retry, whatever `onError` says. */
  readonly verdict: 'block' | 'park' | undefined

  constructor(index: number | undefined, cause: unknown, verdict?: 'block' | 'park') {
    super('a handler failed', { cause })
    this.index = index
    this.verdict = verdict
  }
}

/** What the handler of this event type threw on this event of its batch; a misuse stays one. */
export function failedAt(
  index: number,
  error: unknown,
  { name }: Pick<Definition, 'name'>,
  type: string,
): Error {
  return error instanceof HandlerMisuse
    ? error.of(`${handlerOf(type)} in projection ${quote(name)}`)
    : new HandlerFailure(index, error)
}

/** Another worker moved the build, or it was reset, so its checkpoint is not where it was read. Nothing was written. */
export class LostRace extends Error {}

/**
 * Handles a batch in one transaction, with the checkpoint's move as its last statement: all of it counts or nothing
 * (P1). With slow handlers it ends early: on SQLite because no other connection can write meanwhile, and everywhere so
 * that a worker that keeps being killed still makes progress.
 *
 * @returns the build with its new checkpoint.
 * @throws HandlerFailure, LostRace; one of Mneme's errors if the target failed.
 */
export async function applyBatch(
  definition: Definition,
  build: Build,
  batch: Batch,
  holder: Holder,
  reveal: Revealing,
): Promise<Build> {
  const maxTime = MAX_BATCH_MS[definition.target.dialect]
  return handling(
    definition,
    (tx, pinned, deadline) =>
      handleAll(definition, build, { ...batch, ...holder, tx, pinned, maxTime, deadline, reveal }),
    holder.lease,
    pinOf(build),
  )
}

/**
 * A transaction in which handlers are called.
 *
 * @throws HandlerFailure if what they have written cannot be committed; what the work throws; Mneme's errors.
 */
export async function handling<T>(
  definition: Definition,
  work: (tx: unknown, rows: readonly TargetRow[], deadline: Deadline) => TargetSteps<T>,
  lease: number,
  first?: TargetQuery,
): Promise<T> {
  try {
    return await withDeadline(definition, work, lease, first)
  } catch (error) {
    if (error instanceof HandlerFailure || error instanceof LostRace || isMnemeError(error)) throw error
    // For example a deferred constraint, or a transaction that an earlier query of a handler aborted.
    throw new HandlerFailure(undefined, error)
  }
}

/** A transaction that calls functions of a definition, which have to settle before the deadline. */
export async function withDeadline<T>(
  { target, handlerTimeout }: Definition,
  work: (tx: unknown, rows: readonly TargetRow[], deadline: Deadline) => TargetSteps<T>,
  lease: number,
  first?: TargetQuery,
): Promise<T> {
  const deadline = new Deadline(handlerTimeout ?? lease)
  try {
    return await target.transaction((tx, rows) => work(tx, rows, deadline), lease, first)
  } finally {
    deadline.clear()
  }
}

interface Work extends Batch, Holder {
  readonly tx: unknown
  readonly pinned: readonly TargetRow[]
  /** Milliseconds after which the batch ends early. */
  readonly maxTime: number
  readonly deadline: Deadline
  readonly reveal: Revealing
}

function* handleAll(
  definition: Definition,
  build: Build,
  { events, through, owner, lease, tx, pinned, maxTime, deadline, reveal }: Work,
): TargetSteps<Build> {
  const { selection, handlers } = definition
  const context = contextOf(definition, build, reveal)
  const started = environment.now()
  let count = 0
  let taken = 0
  if (pinned.length === 0) throw new LostRace()
  for (const stored of events) {
    const type = selection.typeOf(stored)
    if (type !== undefined) {
      try {
        const returned = handlers.get(type)!(selection.decode(stored), tx, context)
        // Without a nested generator, which would cost as much as a short handler.
        if (isThenable(returned)) yield { returned: deadline.race(returned, handlerOf(type)) }
        else checkRun(returned)
      } catch (error) {
        throw failedAt(taken, error, definition, type)
      }
      count++
    }
    taken++
    if (environment.now() - started > maxTime) break
  }
  const last = events[taken - 1]
  const to = taken < events.length && last ? checkpointAt(through.store, last) : through
  if (!(yield* advance(build, to, { count, owner, lease }))) throw new LostRace()
  return movedTo(build, to, count)
}

/** A handler in words. */
export function handlerOf(type: string): string {
  return `the handler of '${type}'`
}

/** The names of a build's tables, and how to reveal, as handlers are given them. */
export function contextOf(
  { tables }: Definition,
  build: Pick<Build, 'role' | 'generation'>,
  reveal: Revealing = cannotReveal,
): ProjectionContext {
  return { tables: tableNames(tables, suffixOf(build)), reveal }
}

/**
 * How handlers reveal the sealed values of events, which are opened here, before the transaction: an erasure that comes
 * meanwhile is told by an event behind these, so its handler still finds what is written.
 *
 * @throws KeyStoreError, SealBrokenError
 */
export async function revealingOf(
  { personal }: Definition,
  events: readonly StoredEvent[],
): Promise<Revealing> {
  return personal ? revealing(personal, sealedTextsIn(events)) : cannotReveal
}

/** Of a projection without a key ring. */
export function cannotReveal(): never {
  throw new UnsupportedError(
    'this projection cannot reveal: give it the key ring of the store, personal: keyRing(...)',
  )
}

/** Milliseconds after which a batch ends early. */
const MAX_BATCH_MS = { sqlite: 20, postgres: 100 }
