import { HandlerTimeoutError, type ProjectionTarget, type TargetSteps } from '../adapter/projection-target.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import { environment } from '../base/environment.ts'
import { anySignal } from '../base/abort.ts'
import type { Recorded } from '../model/event.ts'
import { HandlerFailure } from '../projections/batch.ts'
import { type Build, checkpointAt } from '../projections/builds.ts'
import {
  type Agenda,
  type Batch,
  Ended,
  type Handling,
  type Holder,
  type Parking,
} from '../projections/handling.ts'
import { Nudge } from './nudge.ts'
import { type Handled, ParkedSequences } from './parked-sequences.ts'
import { type ParkedRow, setAside, setAsideBehind } from './parking.ts'
import { type RelaySpec, sequenceOf, sequenceToPark } from './spec.ts'
import { type Step, Steps } from './state.ts'

/** What a relay's worker has, while it has the lease. */
export interface RelayHeld {
  readonly spec: RelaySpec
  readonly target: ProjectionTarget<unknown>
  readonly holder: Holder
  readonly signal: AbortSignal
}

interface Item {
  readonly stored: StoredEvent
  readonly event: Recorded
  readonly sequence: string
  readonly isBehind: boolean
}

/** Sends the events of a relay, and moves the checkpoint once they are confirmed. */
export class Relaying implements Handling, Agenda {
  readonly #held: RelayHeld
  readonly #nudge: Nudge
  readonly #steps: Steps
  readonly #parked: ParkedSequences

  constructor(held: RelayHeld) {
    this.#held = held
    const { spec, target, holder, signal } = held
    this.#nudge = new Nudge(spec.name, spec.clock, holder.lease / 3)
    this.#steps = new Steps(target, holder)
    this.#parked = new ParkedSequences({
      ...{ target, signal },
      transaction: (...step) => this.#transaction(...step),
      handle: (_, row) => this.#sendParked(row),
    })
  }

  get agenda(): Agenda {
    return this
  }

  end(): void {
    this.#nudge.end()
  }

  async apply(build: Build, { events, through }: Batch): Promise<Build> {
    const { spec } = this.#held
    const items: Item[] = []
    let taken = 0
    let wanted = 0
    for (const stored of events) {
      if (wanted === spec.batchSize) break
      if (spec.selection.typeOf(stored) !== undefined) {
        try {
          const event = spec.selection.decode(stored)
          const sequence = sequenceOf(spec, event)
          const isBehind = this.#parked.has(sequence)
          items.push({ stored, event, sequence, isBehind })
          if (!isBehind) wanted++
        } catch (error) {
          throw new HandlerFailure(taken, error)
        }
      }
      taken++
    }
    const sent = items.filter(({ isBehind }) => !isBehind).map(({ event }) => event)
    if (sent.length > 0) await this.#send(sent, taken >> 1)
    const last = events[taken - 1]
    const to = taken < events.length && last ? checkpointAt(through.store, last) : through
    const behind = items.filter(({ isBehind }) => isBehind)
    const step = { to, count: sent.length }
    if (behind.length === 0) return this.#transaction(build, step)
    return this.#transaction(build, step, (at) => setAsideBehind(at, behind))
  }

  /**
   * @param half how many events to try the next time.
   * @throws HandlerFailure, or Ended if the worker was told to stop.
   */
  async #send(batch: readonly Recorded[], half: number): Promise<void> {
    const { spec, signal } = this.#held
    const ending = new AbortController()
    let cancel: (() => void) | undefined
    const late = new Promise<never>((_, reject) => {
      cancel = environment.after(spec.timeout, () => {
        const error = new HandlerTimeoutError(
          `'send' of relay '${spec.name}'`,
          spec.timeout,
          "its 'sendTimeout'",
        )
        ending.abort(error)
        reject(error)
      })
    })
    const { signal: either, release } = anySignal(signal, ending.signal)
    try {
      await Promise.race([spec.send(batch, { signal: either! }), late])
    } catch (error) {
      if (signal.aborted) throw new Ended()
      throw new HandlerFailure(half, error)
    } finally {
      cancel?.()
      release()
    }
  }

  async park(build: Build, { event, through, failure }: Parking): Promise<Build> {
    const sequence = sequenceToPark(this.#held.spec, event)
    const moved = await this.#transaction(build, { to: through }, (at) =>
      setAside(at, { event, sequence, failure, plan: undefined }),
    )
    this.#parked.add(sequence)
    return moved
  }

  #transaction(
    build: Build,
    change: Omit<Step, 'plan'>,
    work?: (at: Build) => TargetSteps<unknown>,
  ): Promise<Build> {
    return this.#steps.take(build, { ...change, plan: undefined }, work)
  }

  async begin(build: Build): Promise<Build> {
    this.#steps.begin(build)
    await this.#parked.find(build)
    return build
  }

  async due(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.#nudge.isDue) await this.#nudge.wait(Infinity, signal)
  }

  async work(build: Build): Promise<Build> {
    if (!this.#nudge.isDue) return build
    this.#nudge.look()
    return this.#parked.retryAsked(build)
  }

  async #sendParked({ event }: ParkedRow): Promise<Handled> {
    try {
      await this.#send([this.#held.spec.selection.decode(event)], 0)
      return {}
    } catch (error) {
      if (error instanceof Ended) throw error
      return { cause: error instanceof HandlerFailure ? error.cause : error }
    }
  }
}
