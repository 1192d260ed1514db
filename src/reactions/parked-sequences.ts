import type { ProjectionTarget, TargetSteps } from '../adapter/projection-target.ts'
import type { Build } from '../projections/builds.ts'
import { failureOf } from '../projections/failures.ts'
import {
  askedSequence,
  firstParked,
  keepParked,
  type ParkedRow,
  parkedSequences,
  removeDiscarded,
  removeParked,
} from './parking.ts'
import type { Step } from './state.ts'

/** How a worker tries parked events again. */
export interface Retrying {
  readonly target: ProjectionTarget<unknown>
  readonly signal: AbortSignal
  /** One of the worker's transactions. */
  readonly transaction: (
    build: Build,
    change: Omit<Step, 'plan'>,
    work: (at: Build) => TargetSteps<unknown>,
  ) => Promise<Build>
  /** Handles a parked event; `undefined`: the worker was told to stop. */
  readonly handle: (build: Build, row: ParkedRow, sequence: string) => Promise<Handled | undefined>
}

/** What became of a parked event: why it failed again, or what to write down for it. */
export type Handled = { readonly cause: unknown } | { readonly finish?: (at: Build) => TargetSteps<unknown> }

/** The sequences of which events are set aside, as the worker that has the lease knows them. */
export class ParkedSequences {
  readonly #retrying: Retrying
  #names = new Set<string>()

  constructor(retrying: Retrying) {
    this.#retrying = retrying
  }

  has(sequence: string): boolean {
    return this.#names.has(sequence)
  }

  add(sequence: string): void {
    this.#names.add(sequence)
  }

  /** Finds those of the workers before this one. */
  async find(build: Build): Promise<void> {
    this.#names = await this.#retrying.target.read(() => parkedSequences(build))
  }

  /** Handles parked events of which the worker is asked for something: those of a sequence in order. */
  async retryAsked(build: Build): Promise<Build> {
    const { target, signal } = this.#retrying
    let at = build
    while (!signal.aborted) {
      const from = at
      const sequence = await target.read(() => askedSequence(from))
      if (sequence === undefined) return at
      at = await this.#retrySequence(at, sequence)
    }
    return at
  }

  async #retrySequence(build: Build, sequence: string): Promise<Build> {
    const { target, signal, transaction, handle } = this.#retrying
    let at = build
    while (!signal.aborted) {
      at = await transaction(at, {}, (from) => removeDiscarded(from, sequence))
      const from = at
      const row = await target.read(() => firstParked(from, sequence))
      if (!row) {
        this.#names.delete(sequence)
        return at
      }
      const handled = await handle(at, row, sequence)
      if (!handled) return at
      const { position } = row.event
      if ('cause' in handled) {
        const failure = failureOf(handled.cause, row.failure.attempts + 1, row.event)
        return transaction(at, {}, (to) => keepParked(to, sequence, { position, failure, plan: row.plan }))
      }
      at = await transaction(at, { count: 1 }, function* (to) {
        if (handled.finish) yield* handled.finish(to)
        yield* removeParked(to, position)
      })
    }
    return at
  }
}
