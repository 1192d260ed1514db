import { HandlerTimeoutError, type ProjectionTarget, type TargetSteps } from '../adapter/projection-target.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import { environment } from '../base/environment.ts'
import type { Position } from '../base/revision.ts'
import { anySignal } from '../base/abort.ts'
import type { Recorded } from '../model/event.ts'
import { HandlerFailure } from '../projections/batch.ts'
import { type Build, checkpointAt } from '../projections/builds.ts'
import { failureOf } from '../projections/failures.ts'
import {
  type Agenda,
  type Batch,
  Ended,
  type Handling,
  type Holder,
  type Parking,
} from '../projections/handling.ts'
import { Nudge } from './nudge.ts'
import {
  askedSequence,
  firstParked,
  keepParked,
  parkedSequences,
  removeDiscarded,
  removeParked,
  setAside,
  waitsBehind,
} from './parking.ts'
import { type RelaySpec, sequenceOf } from './spec.ts'
import { type Step, takeStep } from './state.ts'
import { pause } from '../base/clock.ts'

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
  #step = 0
  #parked = new Set<string>()
  #isNudged = true
  #wake: () => void = () => undefined
  #lookedAt = -Infinity

  constructor(held: RelayHeld) {
    this.#held = held
    this.#nudge = new Nudge(held.spec.name, () => {
      this.#isNudged = true
      this.#wake()
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
    return this.#transaction(build, { to, count: sent.length }, function* (at) {
      for (const { isBehind, stored, sequence } of items) {
        if (!isBehind) continue
        yield* setAside(at, {
          event: stored,
          sequence,
          failure: waitsBehind(stored, sequence),
          plan: undefined,
        })
      }
    })
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
    const { spec } = this.#held
    let sequence = event.stream
    try {
      sequence = sequenceOf(spec, spec.selection.decode(event))
    } catch {
      // Then the stream is its sequence.
    }
    const moved = await this.#transaction(build, { to: through }, (at) =>
      setAside(at, { event, sequence, failure, plan: undefined }),
    )
    this.#parked.add(sequence)
    return moved
  }

  async #transaction(
    build: Build,
    change: Omit<Step, 'plan'>,
    work: (at: Build) => TargetSteps<unknown>,
  ): Promise<Build> {
    const { target, holder } = this.#held
    const at = { ...build, step: this.#step }
    const moved = await takeStep({ target, build: at, holder, step: { ...change, plan: undefined } }, work)
    this.#step = moved.step
    return moved
  }

  async begin(build: Build): Promise<Build> {
    this.#step = build.step
    this.#parked = await this.#held.target.read(() => parkedSequences(build))
    return build
  }

  async due(signal: AbortSignal): Promise<void> {
    const { clock } = this.#held.spec
    while (!signal.aborted) {
      const look = this.#lookedAt + this.#held.holder.lease / 3 - clock.now()
      if (this.#isNudged || look <= 0) return
      const ending = new AbortController()
      const wake = () => {
        ending.abort()
      }
      this.#wake = wake
      signal.addEventListener('abort', wake, { once: true })
      await pause(clock, look, ending.signal)
      signal.removeEventListener('abort', wake)
    }
  }

  async work(build: Build, _read: Position | undefined): Promise<Build> {
    const { spec, holder, target, signal } = this.#held
    if (!this.#isNudged && spec.clock.now() - this.#lookedAt < holder.lease / 3) return build
    this.#isNudged = false
    this.#lookedAt = spec.clock.now()
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
    const { target, spec, signal } = this.#held
    let at = build
    while (!signal.aborted) {
      at = await this.#transaction(at, {}, (from) => removeDiscarded(from, sequence))
      const from = at
      const row = await target.read(() => firstParked(from, sequence))
      if (!row) {
        this.#parked.delete(sequence)
        return at
      }
      const { position } = row.event
      try {
        await this.#send([spec.selection.decode(row.event)], 0)
      } catch (error) {
        if (error instanceof Ended) throw error
        const cause = error instanceof HandlerFailure ? error.cause : error
        const failure = failureOf(cause, row.failure.attempts + 1, row.event)
        return this.#transaction(at, {}, (to) =>
          keepParked(to, sequence, { position, failure, plan: undefined }),
        )
      }
      at = await this.#transaction(at, { count: 1 }, (to) => removeParked(to, position))
    }
    return at
  }
}
