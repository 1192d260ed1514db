import type { StoredEvent } from '../adapter/store-adapter.ts'
import type { ProjectionTarget, TargetSteps } from '../adapter/projection-target.ts'
import { pause } from '../base/clock.ts'
import { environment } from '../base/environment.ts'
import type { Position } from '../base/revision.ts'
import { retryDelay } from '../base/retry.ts'
import type { Recorded } from '../model/event.ts'
import { fromStored } from '../store/decode.ts'
import type { Checkpoint } from '../store/event-store.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import { HandlerFailure } from '../projections/batch.ts'
import { type Build, checkpointAt, type Failure } from '../projections/builds.ts'
import { failureOf } from '../projections/failures.ts'
import {
  type Agenda,
  type Batch,
  Ended,
  type Handling,
  type Holder,
  type Note,
  type Parking,
} from '../projections/handling.ts'
import { watchTimers } from './diagnostics.ts'
import { Nudge } from './nudge.ts'
import {
  askedSequence,
  firstParked,
  keepParked,
  keepParkedPlan,
  parkedSequences,
  removeDiscarded,
  removeParked,
  setAside,
  waitsBehind,
} from './parking.ts'
import { CallFailure, Interrupted, type Performer } from './perform.ts'
import { type Plan, planOf, replanned } from './plan.ts'
import { type ReactionSpec, sequenceOf } from './spec.ts'
import {
  changeTimers,
  earliestOf,
  findFiring,
  keepTimerPlan,
  markDue,
  nextDue,
  parkTimer,
  removeTimers,
  type Step,
  type StoredTimer,
  takeStep,
} from './state.ts'

/** What a reaction's worker has, while it has the lease. */
export interface Held {
  readonly spec: ReactionSpec
  readonly target: ProjectionTarget<unknown>
  readonly core: StoreCore
  readonly holder: Holder
  readonly signal: AbortSignal
  readonly performer: Performer
  /** How many sequences are worked on at once. */
  readonly concurrency: number
}

/** An event of a batch. */
interface Item {
  /** Its index in the batch. */
  readonly index: number
  readonly stored: StoredEvent
  readonly event: Recorded
  readonly sequence: string
  readonly plan: Plan
  /** Whether it is set aside behind a parked event of its sequence. */
  readonly isBehind: boolean
  isDone: boolean
  failure?: CallFailure
}

/**
 * Handles the events of a reaction: writes down what follows from them, executes the commands, each with a key by which the
 * store recognises it, and then moves the checkpoint together with the timers. Fires timers, and tries parked events again,
 * between two batches.
 */
export class Reacting implements Handling, Agenda {
  readonly #held: Held
  readonly #nudge: Nudge
  #step = 0
  /** The plans that are stored, by the ids of their events. */
  #stored = new Map<string, Plan>()
  /** The events whose calls were executed, and whose checkpoint is still to come. */
  readonly #done = new Set<string>()
  #parked = new Set<string>()
  /** When the next timer is due, in milliseconds since 1970. */
  #earliest = Infinity
  /** Which timers are to be fired, once the log is handled up to the head of that time. */
  #aim: { readonly until: number; readonly head: Position | undefined; isReached: boolean } | undefined
  /** Whether to look for what other processes have asked for. */
  #isNudged = false
  #wake: () => void = () => undefined
  #lookedAt = -Infinity
  /** Stored plans are written one after the other. */
  #saving: Promise<unknown> = Promise.resolve()

  constructor(held: Held) {
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
    const items = this.#itemsOf(events)
    const fresh = items.filter(({ plan, isBehind, event }) => {
      return !isBehind && plan.calls.length > 0 && this.#stored.get(event.id) !== plan
    })
    if (fresh.length > 0) await this.#begin(build, fresh)
    await this.#performAll(build, items)
    const open = items.find(({ isDone, isBehind }) => !isDone && !isBehind)
    if (open === undefined) return this.#finish(build, items, through)
    const prefix = items.filter(({ index }) => index < open.index)
    const before = events[open.index - 1]
    if (before === undefined) {
      const { failure, plan } = open
      if (failure && plan.isFailed !== true) {
        plan.isFailed = true
        await this.#save(build)
      }
      if (failure) throw new HandlerFailure(open.index, failure.cause, failure.verdict)
      return build
    }
    return this.#finish(build, prefix, checkpointAt(through.store, before))
  }

  /** What follows from each event. @throws HandlerFailure */
  #itemsOf(events: readonly StoredEvent[]): Item[] {
    const { spec } = this.#held
    const items: Item[] = []
    for (const [index, stored] of events.entries()) {
      if (spec.selection.typeOf(stored) === undefined) continue
      try {
        const event = spec.selection.decode(stored)
        const sequence = sequenceOf(spec, event)
        const isBehind = this.#parked.has(sequence)
        const plan = this.#planOf(event, this.#stored.get(event.id))
        const isDone = !isBehind && (plan.calls.length === 0 || this.#done.has(event.id))
        items.push({ index, stored, event, sequence, plan, isBehind, isDone })
      } catch (error) {
        throw new HandlerFailure(index, error)
      }
    }
    return items
  }

  /** What follows from an event: what was written down, unless that failed and this is a later version. */
  #planOf(event: Recorded, stored: Plan | undefined): Plan {
    const { spec } = this.#held
    if (stored === undefined) return planOf(spec, event)
    if (stored.isFailed !== true || stored.version === spec.version) return stored
    return replanned(stored, planOf(spec, event))
  }

  /** Writes down what is going to be done. */
  async #begin(build: Build, items: readonly Item[]): Promise<void> {
    for (const { plan } of items) this.#stored.set(plan.id, plan)
    await this.#save(build)
  }

  /** Stores the plans as they are now. Calls that come together are stored together. */
  #save(build: Build): Promise<void> {
    const saving = this.#saving.then(() => this.#transaction(build, {}, () => nothing()))
    this.#saving = saving.catch(() => undefined)
    return saving.then(() => undefined)
  }

  /** Executes the calls of events: those of one sequence in order, several sequences side by side. */
  async #performAll(build: Build, items: readonly Item[]): Promise<void> {
    const sequences = new Map<string, Item[]>()
    for (const item of items) {
      if (item.isBehind || item.isDone) continue
      const sequence = sequences.get(item.sequence)
      if (sequence) sequence.push(item)
      else sequences.set(item.sequence, [item])
    }
    const started = environment.now()
    let isFirst = true
    const perform = async (sequence: readonly Item[]) => {
      for (const item of sequence) {
        // With slow commands a batch ends early, so that the checkpoint moves.
        if (!isFirst && environment.now() - started > MAX_BATCH_MS) return
        isFirst = false
        if (!(await this.#performItem(build, item))) return
      }
    }
    await this.#sideBySide([...sequences.values()], perform)
  }

  /** Executes the calls of an event. Returns whether its sequence may go on. */
  async #performItem(build: Build, item: Item): Promise<boolean> {
    const { plan, event } = item
    try {
      await this.#held.performer.perform({
        plan,
        where: `event '${event.type}'`,
        from: Date.parse(event.time),
        event: () => Promise.resolve(event),
        save: () => this.#save(build),
      })
      item.isDone = true
      this.#done.add(event.id)
      return true
    } catch (error) {
      if (error instanceof CallFailure) item.failure = error
      else if (!(error instanceof Interrupted)) throw error
      return false
    }
  }

  /** Does something with each of these, a bounded number at once; waits for those that have begun also if one fails. */
  async #sideBySide<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
    const { concurrency, signal } = this.#held
    let next = 0
    const failures: { readonly error: unknown }[] = []
    const worker = async () => {
      while (next < all.length && failures.length === 0 && !signal.aborted) {
        try {
          await work(all[next++]!)
        } catch (error) {
          failures.push({ error })
        }
      }
    }
    await Promise.all(Array.from({ length: Math.min(concurrency, all.length) }, worker))
    if (failures[0]) throw failures[0].error
  }

  /** Moves the checkpoint, sets and cancels timers, and sets events aside, all in one transaction. */
  async #finish(build: Build, items: readonly Item[], to: Checkpoint): Promise<Build> {
    const count = items.filter(({ isBehind }) => !isBehind).length
    for (const { event } of items) this.#stored.delete(event.id)
    const moved = await this.#transaction(build, { to, count }, function* (at) {
      const handled = items.filter(({ isBehind }) => !isBehind)
      yield* changeTimers(
        at,
        handled.map((item) => ({ ...item, event: item.stored })),
      )
      for (const { isBehind, stored, sequence } of items) {
        if (!isBehind) continue
        const failure = waitsBehind(stored, sequence)
        yield* setAside(at, { event: stored, sequence, failure, plan: undefined })
      }
    })
    for (const { plan, isBehind, event } of items) {
      this.#done.delete(event.id)
      if (!isBehind) this.#earliest = Math.min(this.#earliest, earliestOf(plan.timers))
    }
    return moved
  }

  async park(build: Build, { event, through, failure }: Parking): Promise<Build> {
    const sequence = this.#sequenceOf(event)
    const plan = this.#stored.get(event.id)
    this.#stored.delete(event.id)
    const moved = await this.#transaction(build, { to: through }, (at) =>
      setAside(at, { event, sequence, failure, plan }),
    )
    this.#parked.add(sequence)
    return moved
  }

  /** The sequence of an event; its stream, if it cannot be told. */
  #sequenceOf(stored: StoredEvent): string {
    const { spec } = this.#held
    try {
      return sequenceOf(spec, spec.selection.decode(stored))
    } catch {
      return stored.stream
    }
  }

  /** One of this worker's transactions: all of it counts, or another worker had one meanwhile. @throws LostRace */
  async #transaction(
    build: Build,
    change: Omit<Step, 'plan'>,
    work: (at: Build) => TargetSteps<unknown>,
  ): Promise<Build> {
    const { target, holder } = this.#held
    const plan = this.#stored.size > 0 ? JSON.stringify([...this.#stored.values()]) : undefined
    const at = { ...build, step: this.#step }
    const moved = await takeStep({ target, build: at, holder, step: { ...change, plan } }, work)
    this.#step = moved.step
    return moved
  }

  async begin(build: Build, note: Note): Promise<Build> {
    this.#step = build.step
    const plans = build.plan === undefined ? [] : (JSON.parse(build.plan) as Plan[])
    this.#stored = new Map(plans.map((plan) => [plan.id, plan]))
    this.#parked = await this.#held.target.read(() => parkedSequences(build))
    // Whatever a worker before this one has decided to fire comes before any event.
    const fired = await this.#retryAsked(await this.#fireMarked(build, note))
    await this.#look(fired)
    return fired
  }

  async due(signal: AbortSignal): Promise<void> {
    const { clock, date } = this.#held.spec
    while (!signal.aborted) {
      const isWaiting = this.#aim?.isReached === false
      const left = isWaiting ? Infinity : this.#earliest - date()
      const look = this.#lookedAt + this.#lookInterval - clock.now()
      if (this.#isNudged || left <= 0 || look <= 0) return
      const ending = new AbortController()
      const wake = () => {
        ending.abort()
      }
      this.#wake = wake
      signal.addEventListener('abort', wake, { once: true })
      // Looks at the computer's clock every now and then, in case that it was set.
      await pause(clock, Math.min(left, look, MAX_SLEEP_MS), ending.signal)
      signal.removeEventListener('abort', wake)
    }
  }

  get #lookInterval(): number {
    return this.#held.holder.lease / 3
  }

  async work(build: Build, read: Position | undefined, note: Note): Promise<Build> {
    const { clock, date } = this.#held.spec
    let at = build
    if (this.#isNudged || clock.now() - this.#lookedAt >= this.#lookInterval) {
      this.#isNudged = false
      at = await this.#fireMarked(at, note)
      at = await this.#retryAsked(at)
      await this.#look(at)
    }
    if (this.#aim === undefined && this.#earliest > date()) return at
    return this.#fireDue(at, read, note)
  }

  /** Looks for timers, also those that another process has changed. */
  async #look(build: Build): Promise<void> {
    this.#lookedAt = this.#held.spec.clock.now()
    this.#earliest = await this.#held.target.read(() => nextDue(build))
  }

  /** Fires some of the timers that are due, once every event that was stored before is handled. */
  async #fireDue(build: Build, read: Position | undefined, note: Note): Promise<Build> {
    const { core, spec, target } = this.#held
    this.#aim ??= { until: spec.date(), head: await core.logHead(), isReached: false }
    const { until, head } = this.#aim
    this.#aim.isReached ||= await this.#isReached(head, read)
    if (!this.#aim.isReached) return build
    const marked = await this.#transaction(build, {}, (at) => markDue(at, until, TIMERS_PER_PAGE))
    const fired = await this.#fireMarked(marked, note)
    this.#earliest = await target.read(() => nextDue(fired))
    if (this.#earliest > until) this.#aim = undefined
    return fired
  }

  /** Whether no event up to a position remains to be handled. */
  async #isReached(head: Position | undefined, read: Position | undefined): Promise<boolean> {
    if (head === undefined || (read !== undefined && read >= head)) return true
    const { core, spec } = this.#held
    const range = { direction: 'forwards', after: read, to: head, limit: 1 } as const
    for await (const page of core.readAllForUser({ ...spec.selection.filter, ...range })) {
      if (page.length > 0) return false
    }
    return true
  }

  /** Fires the timers for which that was decided, in the order of their due time. */
  async #fireMarked(build: Build, note: Note): Promise<Build> {
    const { target, signal, spec } = this.#held
    const { name } = spec
    let at = build
    while (!signal.aborted) {
      const from = at
      const timers = await target.read(() => findFiring(from, TIMERS_PER_PAGE))
      if (timers.length === 0) return at
      at = await watchTimers(name, timers, () => this.#fire(from, timers, note))
    }
    return at
  }

  async #fire(build: Build, timers: readonly StoredTimer[], note: Note): Promise<Build> {
    const { spec, signal } = this.#held
    const fired: StoredTimer[] = []
    const parked: { readonly timer: StoredTimer; readonly failure: Failure }[] = []
    const sequences = new Map<string, StoredTimer[]>()
    for (const timer of timers) {
      const sequence = sequences.get(timer.sequence)
      if (sequence) sequence.push(timer)
      else sequences.set(timer.sequence, [timer])
    }
    let blocked: { readonly failure: Failure } | undefined
    const fireSequence = async (sequence: readonly StoredTimer[]) => {
      for (const timer of sequence) {
        for (let attempts = 1; ; attempts++) {
          if (blocked || signal.aborted) return
          try {
            await this.#fireOne(build, timer)
            fired.push(timer)
            break
          } catch (error) {
            if (error instanceof Interrupted) return
            if (!(error instanceof CallFailure)) throw error
            const failure = { ...failureOf(error.cause, attempts), timer: timer.timer }
            const isOver = attempts > spec.retry.maxRetries || error.verdict !== undefined
            if (!isOver) {
              await note('retrying', failure)
              await pause(spec.clock, retryDelay(spec.retry, attempts, environment.random()), signal)
              continue
            }
            if ((error.verdict ?? spec.onError) === 'park') parked.push({ timer, failure })
            else blocked = { failure }
            break
          }
        }
      }
    }
    await this.#sideBySide([...sequences.values()], fireSequence)
    const moved =
      fired.length + parked.length === 0
        ? build
        : await this.#transaction(build, { count: 0 }, function* (at) {
            yield* removeTimers(at, fired)
            // The answers to rejected calls may have timers.
            yield* changeTimers(
              at,
              fired.map((timer) => ({ ...timer, event: timer })),
            )
            for (const { timer, failure } of parked) yield* parkTimer(at, timer, failure)
          })
    for (const { plan } of fired) this.#earliest = Math.min(this.#earliest, earliestOf(plan.timers))
    if (blocked) {
      await note('blocked', blocked.failure)
      throw new Ended()
    }
    return moved
  }

  async #fireOne(build: Build, timer: StoredTimer): Promise<void> {
    const { plan, due } = timer
    await this.#held.performer.perform({
      plan,
      where: `timer '${timer.timer}'`,
      from: due,
      event: () => this.#eventOf(timer),
      save: () => {
        const saving = this.#saving.then(() => this.#transaction(build, {}, (at) => keepTimerPlan(at, timer)))
        this.#saving = saving.catch(() => undefined)
        return saving.then(() => undefined)
      },
    })
  }

  /** The event that set a timer. */
  async #eventOf({ stream, revision, timer }: StoredTimer): Promise<Recorded> {
    const { core, spec } = this.#held
    const request = { stream, direction: 'forwards', from: revision, to: revision, limit: 1 } as const
    for await (const [stored] of core.readForUser(request)) {
      if (stored)
        return spec.selection.typeOf(stored) === undefined
          ? fromStored(stored)
          : spec.selection.decode(stored)
    }
    throw new Error(
      `the event that set timer '${timer}' is gone: stream '${stream}', revision ${String(revision)}`,
    )
  }

  /** Handles parked events of which the worker is asked for something: those of a sequence in order. */
  async #retryAsked(build: Build): Promise<Build> {
    const { target, signal } = this.#held
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
    const { target, signal } = this.#held
    let at = build
    while (!signal.aborted) {
      at = await this.#transaction(at, {}, (from) => removeDiscarded(from, sequence))
      const from = at
      const row = await target.read(() => firstParked(from, sequence))
      if (!row) {
        this.#parked.delete(sequence)
        return at
      }
      const { event: stored } = row
      const { position } = stored
      let plan: Plan | undefined
      try {
        plan = await this.#retryOne(at, row, sequence)
      } catch (error) {
        if (error instanceof Interrupted) return at
        if (!(error instanceof CallFailure)) throw error
        const failure = failureOf(error.cause, row.failure.attempts + 1, stored)
        const kept = row.plan
        return this.#transaction(at, {}, (to) => keepParked(to, sequence, { position, failure, plan: kept }))
      }
      const done = plan
      at = await this.#transaction(at, { count: 1 }, function* (to) {
        yield* changeTimers(to, [{ plan: done, event: stored, sequence }])
        yield* removeParked(to, position)
      })
      this.#earliest = Math.min(this.#earliest, earliestOf(done.timers))
    }
    return at
  }

  async #retryOne(
    build: Build,
    row: { readonly event: StoredEvent; readonly plan: Plan | undefined },
    sequence: string,
  ): Promise<Plan> {
    const { spec, performer } = this.#held
    const { event: stored } = row
    let event: Recorded
    let plan: Plan
    try {
      event = spec.selection.decode(stored)
      plan = this.#planOf(event, row.plan)
    } catch (error) {
      throw new CallFailure(error)
    }
    const save = async () => {
      await this.#transaction(build, {}, (at) => keepParkedPlan(at, stored.position, plan))
    }
    if (plan !== row.plan && plan.calls.length > 0) await save()
    await performer.perform({
      plan,
      where: `parked event '${event.type}' of sequence '${sequence}'`,
      from: Date.parse(event.time),
      event: () => Promise.resolve(event),
      save,
    })
    return plan
  }
}

function* nothing(): TargetSteps<void> {
  // The fence is all there is.
}

/** Milliseconds after which a batch ends early. */
const MAX_BATCH_MS = 100
/** How long a worker sleeps at most before it looks at the computer's clock again. */
const MAX_SLEEP_MS = 1_000
const TIMERS_PER_PAGE = 500
