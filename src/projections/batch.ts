import { isMnemeError, quote, UnsupportedError } from '../base/errors.ts'
import {
  checkRun,
  HandlerMisuse,
  settle,
  type TargetQuery,
  type TargetRow,
  type TargetSteps,
} from '../adapter/projection-target.ts'
import { advance, checkpointAt, movedTo, pinOf, suffixOf, type Build } from './builds.ts'
import { Deadline } from './deadline.ts'
import { tableNames, type Definition, type ProjectionContext } from './define.ts'
import type { Batch, Holder } from './handling.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import type { Recorded } from '../model/event.ts'
import type { PageSize } from './page-size.ts'
import { type Revealing, revealing, sealedTextsIn } from '../store/revealing.ts'
import { isThenable } from '../base/functions.ts'
import { environment } from '../base/environment.ts'

/** A handler failed. */
export class HandlerFailure extends Error {
  /**
   * Which event of the batch failed; `undefined`: one of a page that was handled at once, or the transaction could not be
   * committed.
   */
  readonly index: number | undefined
  /** What happens to the event at once, without a retry, whatever `onError` says. */
  readonly verdict: 'block' | 'park' | undefined

  constructor(index: number | undefined, cause: unknown, verdict?: 'block' | 'park') {
    super('a handler failed', { cause })
    this.index = index
    this.verdict = verdict
  }
}

/**
 * What a handler threw; a misuse stays one.
 *
 * @param index of the event in its batch; `undefined`: of which of them is unknown.
 * @param handler in words.
 */
export function failedAt(
  index: number | undefined,
  error: unknown,
  { name }: Pick<Definition, 'name'>,
  handler: string,
): Error {
  return error instanceof HandlerMisuse
    ? error.of(`${handler} in projection ${quote(name)}`)
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
export async function applyBatch(definition: Definition, build: Build, given: Given): Promise<Build> {
  return handling(
    definition,
    (tx, pinned, deadline) => handleAll(definition, build, { ...given, tx, pinned, deadline }),
    given.lease,
    pinOf(build),
  )
}

/** A batch, and what it is handled with. */
interface Given extends Batch, Holder {
  readonly reveal: Revealing
  /** Told how long a page has taken, if the projection handles pages. */
  readonly pageSize: PageSize | undefined
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

interface Work extends Given {
  readonly tx: unknown
  readonly pinned: readonly TargetRow[]
  readonly deadline: Deadline
}

function* handleAll(definition: Definition, build: Build, work: Work): TargetSteps<Build> {
  const { events, through, owner, lease, pinned } = work
  if (pinned.length === 0) throw new LostRace()
  const handle = definition.page ? handlePage : handleEach
  const { taken, count } = yield* handle(definition, build, work)
  const last = events[taken - 1]
  const to = taken < events.length && last ? checkpointAt(through.store, last) : through
  if (!(yield* advance(build, to, { count, owner, lease }))) throw new LostRace()
  return movedTo(build, to, count)
}

/** How many events of a batch were dealt with, and how many of them were handled. */
interface Handled {
  readonly taken: number
  readonly count: number
}

/** Handles the events of a batch one by one, as many of them as there is time for. */
function* handleEach(
  definition: Definition,
  build: Build,
  { events, tx, deadline, reveal }: Work,
): TargetSteps<Handled> {
  const { selection, handlers, target } = definition
  const context = contextOf(definition, build, reveal)
  const maxTime = MAX_BATCH_MS[target.dialect]
  const started = environment.now()
  let count = 0
  let taken = 0
  for (const stored of events) {
    const type = selection.typeOf(stored)
    if (type !== undefined) {
      try {
        const returned = handlers.get(type)!(selection.decode(stored), tx, context)
        // Without a nested generator, which would cost as much as a short handler.
        if (isThenable(returned)) yield { returned: deadline.race(returned, handlerOf(type)) }
        else checkRun(returned)
      } catch (error) {
        throw failedAt(taken, error, definition, handlerOf(type))
      }
      count++
    }
    taken++
    if (environment.now() - started > maxTime) break
  }
  return { taken, count }
}

/** Handles the events of a batch at once. */
function* handlePage(
  definition: Definition,
  build: Build,
  { events, tx, deadline, reveal, pageSize }: Work,
): TargetSteps<Handled> {
  const { selection, page } = definition
  const decoded: Recorded[] = []
  let index: number | undefined
  for (const [i, stored] of events.entries()) {
    if (selection.typeOf(stored) === undefined) continue
    try {
      decoded.push(selection.decode(stored))
    } catch (error) {
      throw failedAt(i, error, definition, ON_PAGE)
    }
    index = i
  }
  if (decoded.length === 0) return { taken: events.length, count: 0 }
  const started = environment.now()
  try {
    const returned = page!.handle(decoded, tx, contextOf(definition, build, reveal))
    yield* settle(returned, deadline, ON_PAGE)
  } catch (error) {
    // Of several events, nobody knows which one it was.
    throw failedAt(decoded.length === 1 ? index : undefined, error, definition, ON_PAGE)
  } finally {
    // Also of one that has timed out.
    pageSize?.took(events.length, environment.now() - started)
  }
  return { taken: events.length, count: decoded.length }
}

const ON_PAGE = "'onPage'"

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

/** Milliseconds after which a batch ends early, or the next page is smaller. */
export const MAX_BATCH_MS = { sqlite: 20, postgres: 100 }
