import { checkList } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import { freezeStep } from '../execution/freeze.ts'
import { type AnyAggregate, foldOf } from '../model/aggregate.ts'
import type { Fold } from '../model/stream.ts'

/** An aggregate whose history is checked. */
export interface Checked {
  readonly category: string
  readonly fold: Fold<unknown>
}

/** The aggregates by their categories. @throws InvalidArgumentError */
export function checkAggregates(aggregates: readonly AnyAggregate[]): ReadonlyMap<string, Checked> {
  const list = checkList(aggregates, 'aggregates', (aggregate, argument) => ({
    category: (Object(aggregate) as { category: string }).category,
    fold: foldOf(aggregate, argument),
  }))
  if (!list || list.length === 0) throw new InvalidArgumentError('aggregates', 'a list of aggregates')
  const categories = new Map<string, Checked>()
  for (const checked of list) {
    if (categories.has(checked.category)) {
      throw new InvalidArgumentError('aggregates', {
        message: `two aggregates have the name '${checked.category}'; the streams of a name belong to one aggregate`,
      })
    }
    categories.set(checked.category, checked)
  }
  return categories
}

/** A stream that is being folded. */
export class FoldedStream {
  readonly category: string
  readonly fold: Fold<unknown>
  state: unknown
  /** The revision of the next event. */
  next = 0
  /** Whether its state cannot be folded any more: events are missing, or one of them has a finding. */
  isBroken = false
  /** Whether an event came since it was last passed over. */
  isUsed = true
  /** Set if all of it was folded ahead, so that no state is held: the event at which that failed, if it did. */
  ahead: { readonly failedAt: number | undefined; readonly error: string | undefined } | undefined

  constructor({ category, fold }: Checked) {
    this.category = category
    this.fold = fold
    this.state = fold.initial()
    if (fold.isolation === 'freeze') freezeStep(this.state)
  }

  break(): void {
    this.isBroken = true
    this.state = undefined
  }
}

/**
 * The streams whose states are held: so many at most. Those that have not been used for long are dropped. Of streams that were
 * folded ahead, which need no state, ten times as many are held.
 */
export class HeldStreams {
  readonly #states = new Map<string, FoldedStream>()
  readonly #ahead = new Map<string, FoldedStream>()
  readonly #max: number
  #hasDropped = false

  constructor(max: number) {
    this.#max = max
  }

  /** Whether a stream that is not held may have been held before. */
  get hasDropped(): boolean {
    return this.#hasDropped
  }

  get(stream: string): FoldedStream | undefined {
    return this.#states.get(stream) ?? (this.#hasDropped ? this.#ahead.get(stream) : undefined)
  }

  hold(stream: string, folded: FoldedStream): void {
    const [held, max] = folded.ahead ? [this.#ahead, this.#max * 10] : [this.#states, this.#max]
    if (held.size >= max) this.#drop(held)
    held.set(stream, folded)
  }

  /** Drops the first stream that was not used since it was last looked at: a second chance costs nothing per event. */
  #drop(held: Map<string, FoldedStream>): void {
    this.#hasDropped = true
    for (const [name, folded] of held) {
      held.delete(name)
      if (!folded.isUsed) return
      folded.isUsed = false
      held.set(name, folded)
    }
  }
}
