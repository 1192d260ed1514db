import { isDeepStrictEqual } from 'node:util'

import type { StoredEvent } from '../adapter/store-adapter.ts'
import type { Boundary, Command } from '../model/command.ts'
import type { Recorded } from '../model/event.ts'
import { effectsOf, keyOf, planOf, type PlannedCall, type PlannedTimer } from '../reactions/plan.ts'
import { type ReactionSpec, sequenceOf } from '../reactions/spec.ts'
import { fromStored } from '../store/decode.ts'
import { CALL, type Problem } from './check.ts'
import { CommandClock } from './clock.ts'
import { describedStored, type History } from './history.ts'

/** The metadata of events that follow from a reaction, in place of the number of a command. */
export const BY_REACTION = 'reaction'

/** What reactions are compared with. */
export interface EffectsSettings {
  readonly history: History
  /** The events that were stored under each idempotency key. */
  readonly keys: ReadonlyMap<string, { readonly events: readonly StoredEvent[] }>
  /** What the commands of the reactions need. */
  readonly needs: object
  /** Whether an event is set aside, or a timer, by the position or the event's id and the timer's name. */
  readonly isParked: (reaction: string, of: StoredEvent, timer?: string) => boolean
  /** Whether timers are due by the clocks of computers that never jumped. */
  readonly isPunctual: boolean
  /** The latest time of any computer, in milliseconds since 1970: what was due before has been fired. */
  readonly until: number
}

/** A call that should have had its effect, and where in the log its cause stands. */
interface Expected {
  readonly spec: ReactionSpec
  readonly call: PlannedCall
  readonly event: Recorded
  readonly after: number
}

/** A timer that an event has set, with what became of it. */
interface Timer {
  readonly planned: PlannedTimer
  readonly event: Recorded
  readonly stored: StoredEvent
  readonly place: number
  /** The time of the event that cancelled it or set it again. */
  endedAt?: number
}

/**
 * Compares what reactions have done with what follows from the log, at the end of a run: each call took effect once or was
 * rejected, as it decides on the very history before it; each timer fired once, or was cancelled; and nothing else was done.
 * With what it checks it shares what `on` returns as data, and nothing that executes, retries, marks or keeps checkpoints.
 */
export class Effects {
  readonly #settings: EffectsSettings
  /** The places of events that follow from something. */
  readonly #explained = new Set<number>()
  readonly #places: ReadonlyMap<string, number>
  #problem: Problem | undefined

  constructor(settings: EffectsSettings) {
    this.#settings = settings
    this.#places = new Map(settings.history.log.map(({ id }, place) => [id, place]))
  }

  async check(specs: readonly ReactionSpec[]): Promise<Problem | undefined> {
    for (const spec of specs) await this.#checkReaction(spec)
    for (const [place, { metadata, type, stream }] of this.#settings.history.log.entries()) {
      if (this.#explained.has(place)) continue
      const { [CALL]: call, causation } = JSON.parse(metadata) as Record<string, string>
      if (call !== BY_REACTION) continue
      this.#fail(
        `event ${String(place + 1)}, ${type} of ${stream}, follows from nothing: its cause ${String(causation)} has had its effect`,
      )
    }
    return this.#problem
  }

  async #checkReaction(spec: ReactionSpec): Promise<void> {
    const { history, isParked } = this.#settings
    const timers: Timer[] = []
    const waiting = new Map<string, Timer>()
    const last = new Map<string, number>()
    for (const [place, stored] of history.log.entries()) {
      if (spec.selection.typeOf(stored) === undefined) continue
      const isAside = isParked(spec.name, stored)
      const event = fromStored(stored)
      let plan
      try {
        plan = planOf(spec, event)
      } catch {
        continue // set aside; if it blocks the reaction, that was found
      }
      for (const call of plan.calls) {
        const done = await this.#explain({ spec, call, event, after: place }, !isAside)
        if (done !== undefined && !isAside) this.#checkOrder(spec, event, done, last)
      }
      if (isAside) continue
      for (const change of plan.timers) {
        const name = 'cancel' in change ? change.cancel : change.timer
        const before = waiting.get(name)
        if (before) before.endedAt = Date.parse(stored.time)
        waiting.delete(name)
        if ('cancel' in change) continue
        const timer = { planned: change, event, stored, place }
        waiting.set(name, timer)
        timers.push(timer)
      }
    }
    for (const timer of timers) await this.#checkTimer(spec, timer)
  }

  async #checkTimer(spec: ReactionSpec, { planned, event, stored, place, endedAt }: Timer): Promise<void> {
    const { until, isParked, isPunctual, history } = this.#settings
    const isDue = endedAt === undefined && planned.due <= until
    const isAside = isParked(spec.name, stored, planned.timer)
    const fired = await this.#explain({ spec, call: planned, event, after: place }, isDue && !isAside)
    if (fired === undefined || !isPunctual) return
    const time = Date.parse(history.log[fired]!.time)
    const what = `timer '${planned.timer}' of ${spec.name}`
    if (time < planned.due) this.#fail(`${what} fired ${String(planned.due - time)} ms early`)
    if (endedAt !== undefined && endedAt < planned.due) {
      this.#fail(
        `${what} fired, but was cancelled or set again ${String(planned.due - endedAt)} ms before it was due`,
      )
    }
  }

  /**
   * Looks for the effect of a call: its events, those of its answer if it was rejected, or none if it decides on none. Returns
   * the place of the first of these events.
   */
  async #explain(expected: Expected, isRequired: boolean): Promise<number | undefined> {
    const places = this.#placesOf(expected)
    if (places === undefined && !isRequired) return undefined
    if (!(await this.#isExecuted(expected))) {
      const written = places?.map((place) => this.#describe(place)).join(', ')
      this.#fail(
        written === undefined
          ? `${told(expected)} was never executed`
          : `${told(expected)} stored ${written}, which neither it nor an answer to its rejection decides on the history before`,
      )
    }
    return places?.[0]
  }

  /** The places of the events that were stored under the key of a call. */
  #placesOf({ spec, call, event }: Expected): readonly number[] | undefined {
    const stored = this.#settings.keys.get(keyOf(spec.name, event.id, call.path))?.events
    return stored?.map(({ id }) => this.#places.get(id)!)
  }

  #describe(place: number): string {
    return describedStored(this.#settings.history.log[place]!)
  }

  /** Whether a call has had its effect, or else what the reaction says of its rejection. */
  async #isExecuted(expected: Expected): Promise<boolean> {
    const places = this.#placesOf(expected)
    if (places === undefined) return this.#isAnswered(expected)
    const { decisions } = await this.#settings.history.decide(this.#deciderOf(expected), places[0]!)
    const written = places.map((place) => this.#describe(place))
    const isDecided = (one: (typeof decisions)[number]) =>
      one.kind === 'events' && isDeepStrictEqual(one.events, written)
    if (!decisions.some(isDecided)) return this.#isAnswered(expected, places)
    for (const place of places) this.#explained.add(place)
    return true
  }

  /**
   * Whether there is a moment at which a call has no events of its own, and what its rejection asks for was done.
   *
   * @param places of the events that the first answer has stored under the key of the call.
   */
  async #isAnswered(expected: Expected, places?: readonly number[]): Promise<boolean> {
    const { spec, call, event, after } = expected
    const { history } = this.#settings
    const decider = this.#deciderOf(expected)
    const isNothing = places === undefined
    let before: string | undefined
    for (let length = after + 1; length <= (places?.[0] ?? history.log.length); length++) {
      const { decisions, streams } = await history.decide(decider, length)
      const at = streams.map((stream) => history.revisionAt(stream, length)).join()
      if (at === before) continue
      before = at
      for (const decided of decisions) {
        if (isNothing && decided.kind === 'events' && decided.events.length === 0) return true
        if (decided.kind !== 'rejected') continue
        const rejection = JSON.parse(decided.rejection) as never
        const returned = spec.rejected.get(call.command)?.(rejection, event)
        if (isNothing && typeof returned === 'string') return true
        if (returned === undefined || typeof returned === 'string') continue
        const origin = { where: call.command, from: Date.parse(event.time), parent: call.path }
        if (await this.#areExecuted(effectsOf(spec, returned, origin), expected)) return true
      }
    }
    return false
  }

  /** Whether the answers to a rejection were executed. Their timers may be still to come. */
  async #areExecuted({ calls, timers }: ReturnType<typeof effectsOf>, expected: Expected): Promise<boolean> {
    for (const call of calls) {
      if (!(await this.#isExecuted({ ...expected, call }))) return false
    }
    for (const change of timers) {
      if ('cancel' in change) continue
      const answer = { ...expected, call: change }
      if (this.#placesOf(answer) !== undefined && !(await this.#isExecuted(answer))) return false
    }
    return this.#placesOf(expected)?.every((place) => this.#explained.has(place)) ?? true
  }

  #deciderOf({ spec, call, event }: Expected) {
    const command = spec.commands.get(call.command)!(call.input) as Command<Boundary, unknown>
    const { correlation } = event.metadata
    const metadata = {
      ...{ causation: event.id, [CALL]: BY_REACTION },
      ...(correlation !== undefined && { correlation }),
    }
    return { command, needs: this.#settings.needs, metadata, clock: new CommandClock() }
  }

  /** The calls that follow from the events of a sequence take effect in the order of the events. */
  #checkOrder(spec: ReactionSpec, event: Recorded, place: number, last: Map<string, number>): void {
    const sequence = sequenceOf(spec, event)
    const before = last.get(sequence) ?? -1
    if (place < before) {
      this.#fail(
        `${spec.name}: what follows from ${event.type} of ${event.stream} stands before what follows from an earlier event of sequence '${sequence}'`,
      )
    }
    last.set(sequence, Math.max(place, before))
  }

  #fail(message: string): void {
    this.#problem ??= { kind: 'effect', message }
  }
}

function told({ spec, call, event }: Expected): string {
  return `${spec.name}: ${call.command}(${call.input === undefined ? '' : JSON.stringify(call.input)}), which follows from ${event.type} of ${event.stream},`
}
