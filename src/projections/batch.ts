import { isMnemeError } from '../base/errors.ts'
import {
  HandlerMisuse,
  isThenable,
  type TargetQuery,
  type TargetRow,
  type TargetSteps,
} from '../adapter/projection-target.ts'
import type { Checkpoint } from '../store/event-store.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import { advance, checkpointAt, movedTo, pinOf, suffixOf, type Build } from './builds.ts'
import { tableNames, type Definition, type ProjectionContext } from './define.ts'

/** Events that are handled together, and where the log was looked through to with them. */
export interface Batch {
  readonly events: readonly StoredEvent[]
  readonly through: Checkpoint
}

/** Who handles them, and for how long that is his own. */
export interface Holder {
  readonly owner: string
  /** Milliseconds. */
  readonly lease: number
}

/** A handler failed. */
export class HandlerFailure extends Error {
  /** Which event of the batch it was; `undefined`: what was written could not be committed. */
  readonly index: number | undefined

  constructor(index: number | undefined, cause: unknown) {
    super('a handler failed', { cause })
    this.index = index
  }
}

/** What a handler threw, on this event of its batch; where it did what it must not, that alone counts. */
export function failedAt(index: number, error: unknown): Error {
  return error instanceof HandlerMisuse ? error : new HandlerFailure(index, error)
}

/** The build does not stand where it was thought to: another worker was faster, or it was reset. Nothing was written. */
export class LostRace extends Error {}

/**
 * Handles a batch in one transaction, with the checkpoint's move as its last statement: all of it counts or nothing
 * (P1). Where handlers take long, it ends early: in SQLite because nobody else can write meanwhile, and everywhere so
 * that who is killed on and on still gets on.
 *
 * @returns where the build stands then.
 * @throws HandlerFailure, LostRace; Mneme's errors where the target is to blame.
 */
export async function applyBatch(
  definition: Definition,
  build: Build,
  batch: Batch,
  holder: Holder,
): Promise<Build> {
  const longest = LONGEST[definition.target.dialect]
  return handling(
    definition,
    (tx, pinned) => handleAll(definition, build, { ...batch, ...holder, tx, pinned, longest }),
    holder.lease,
    pinOf(build),
  )
}

/**
 * A transaction in which handlers are called.
 *
 * @throws HandlerFailure where what they have written cannot be committed; what the work throws; Mneme's errors.
 */
export async function handling<T>(
  { target }: Definition,
  work: (tx: unknown, rows: readonly TargetRow[]) => TargetSteps<T>,
  patience: number,
  first?: TargetQuery,
): Promise<T> {
  try {
    return await target.transaction(work, patience, first)
  } catch (error) {
    if (error instanceof HandlerFailure || error instanceof LostRace || isMnemeError(error)) throw error
    // Like a constraint that is checked at the end, or a transaction that a handler's query has spoilt.
    throw new HandlerFailure(undefined, error)
  }
}

interface Work extends Batch, Holder {
  readonly tx: unknown
  readonly pinned: readonly TargetRow[]
  /** Milliseconds after which it ends. */
  readonly longest: number
}

function* handleAll(
  definition: Definition,
  build: Build,
  { events, through, owner, lease, tx, pinned, longest }: Work,
): TargetSteps<Build> {
  const { selection, handlers } = definition
  const context = contextOf(definition, build)
  const started = performance.now()
  let count = 0
  let taken = 0
  if (pinned.length === 0) throw new LostRace()
  for (const stored of events) {
    const type = selection.typeOf(stored)
    if (type !== undefined) {
      try {
        const returned = handlers.get(type)!(selection.decode(stored), tx, context)
        // A generator for each event would cost as much as many a handler.
        if (isThenable(returned)) yield { returned }
      } catch (error) {
        throw failedAt(taken, error)
      }
      count++
    }
    taken++
    if (performance.now() - started > longest) break
  }
  const last = events[taken - 1]
  const to = taken < events.length && last ? checkpointAt(through.store, last) : through
  if (!(yield* advance(build, to, { count, owner, lease }))) throw new LostRace()
  return movedTo(build, to, count)
}

/** The names under which a build's tables are written. */
export function contextOf(
  { tables }: Definition,
  build: Pick<Build, 'role' | 'generation'>,
): ProjectionContext {
  return { tables: tableNames(tables, suffixOf(build)) }
}

/** Milliseconds after which a batch ends early. */
const LONGEST = { sqlite: 20, postgres: 100 }
