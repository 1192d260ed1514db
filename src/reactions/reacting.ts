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
import { type Handled, ParkedSequences } from './parked-sequences.ts'
import { keepParkedPlan, type ParkedRow, setAside, setAsideBehind } from './parking.ts'
import { CallFailure, Interrupted, type Performer } from './perform.ts'
import { type Plan, planOf, replanned } from './plan.ts'
import { type ReactionSpec, sequenceOf, sequenceToPark } from './spec.ts'
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
  Steps,
  type StoredTimer,
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
  readonly #steps: Steps
  readonly #parked: ParkedSequences
  /** The plans that are stored, by the ids of their events. */
  #stored = new Map<string, Plan>()
  /** The events whose calls were executed, and whose checkpoint is still to come. */
  readonly #done = new Set<string>()
  /** When the next timer is due, in milliseconds since 1970. */
  #earliest = Infinity
  /** Which timers are to be fired, once the log is handled up to the head of that time. */
  #aim: { readonly until: number; readonly head: Position | undefined; isReached: boolean } | undefined
  /** Stored plans are written one after the other. */
  #saving: Promise<unknown> = Promise.resolve()

  constructor(held: Held) {
    this.#held = held
    const { spec, target, holder, signal } = held
    this.#nudge = new Nudge(spec.name, spec.clock, holder.lease / 3)
    this.#steps = new Steps(target, holder)
    this.#parked = new ParkedSequences({
      ...{ target, signal },
      transaction: (...step) => this.#transaction(...step),
      handle: (...parked) => this.#retryParked(...parked),
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
  #save(build: Build, work?: (at: Build) => TargetSteps<unknown>): Promise<void> {
    const saving = this.#saving.then(() => this.#transaction(build, {}, work))
    this.#saving = saving.catch(() => undefined)
    return saving.then(() => undefined)
  }

  /** Executes the calls of events: those of one sequence in order, several sequences side by side. */
  async #performAll(build: Build, items: readonly Item[]): Promise<void> {
    const open = items.filter(({ isBehind, isDone }) => !isBehind && !isDone)
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
    await this.#sideBySide(bySequence(open), perform)
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
    const handled = items.filter(({ isBehind }) => !isBehind)
    const behind = items.filter(({ isBehind }) => isBehind)
    for (const { event } of items) this.#stored.delete(event.id)
    const setBy = handled.filter(({ plan }) => plan.timers.length > 0)
    const changes = function* (at: Build) {
      yield* changeTimers(
        at,
        setBy.map((item) => ({ ...item, event: item.stored })),
      )
      yield* setAsideBehind(at, behind)
    }
    const hasChanges = setBy.length + behind.length > 0
    const step = { to, count: handled.length }
    const moved = await this.#transaction(build, step, hasChanges ? changes : undefined)
    for (const { event } of items) this.#done.delete(event.id)
    for (const { plan } of handled) {
      this.#earliest = Math.min(this.#earliest, earliestOf(plan.timers))
    }
    return moved
  }

  async park(build: Build, { event, through, failure }: Parking): Promise<Build> {
    const sequence = sequenceToPark(this.#held.spec, event)
    const plan = this.#stored.get(event.id)
    this.#stored.delete(event.id)
    const moved = await this.#transaction(build, { to: through }, (at) =>
      setAside(at, { event, sequence, failure, plan }),
    )
    this.#parked.add(sequence)
    return moved
  }

  /** One of this worker's transactions: all of it counts, or another worker had one meanwhile. @throws LostRace */
  #transaction(
    build: Build,
    change: Omit<Step, 'plan'>,
    work?: (at: Build) => TargetSteps<unknown>,
  ): Promise<Build> {
    const plan = this.#stored.size > 0 ? JSON.stringify([...this.#stored.values()]) : undefined
    return this.#steps.take(build, { ...change, plan }, work)
  }

  async begin(build: Build, note: Note): Promise<Build> {
    this.#steps.begin(build)
    const plans = build.plan === undefined ? [] : (JSON.parse(build.plan) as Plan[])
    this.#stored = new Map(plans.map((plan) => [plan.id, plan]))
    // The fence first: a worker before this one, which may still go on, changes no plan that this one carries out.
    const own = await this.#transaction(build, {})
    await this.#parked.find(own)
    this.#nudge.look()
    // Whatever a worker before this one has decided to fire comes before any event.
    return this.#look(await this.#fireMarked(own, note))
  }

  async due(signal: AbortSignal): Promise<void> {
    const { date } = this.#held.spec
    while (!signal.aborted) {
      const isWaiting = this.#aim?.isReached === false
      const left = isWaiting ? Infinity : this.#earliest - date()
      if (this.#nudge.isDue || left <= 0) return
      // Looks at the computer's clock every now and then, in case that it was set.
      await this.#nudge.wait(Math.min(left, MAX_SLEEP_MS), signal)
    }
  }

  async work(build: Build, read: Position | undefined, note: Note): Promise<Build> {
    let at = build
    if (this.#nudge.isDue) {
      this.#nudge.look()
      at = await this.#look(await this.#fireMarked(at, note))
    }
    if (this.#aim === undefined && this.#earliest > this.#held.spec.date()) return at
    return this.#fireDue(at, read, note)
  }

  /** Does what the worker is asked for, and looks for timers, also those that another process has changed. */
  async #look(build: Build): Promise<Build> {
    const at = await this.#parked.retryAsked(build)
    this.#earliest = await this.#held.target.read(() => nextDue(at))
    return at
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
    await this.#sideBySide(bySequence(timers), fireSequence)
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
      save: () => this.#save(build, (at) => keepTimerPlan(at, timer)),
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

  async #retryParked(build: Build, row: ParkedRow, sequence: string): Promise<Handled | undefined> {
    try {
      const plan = await this.#retryOne(build, row, sequence)
      return { finish: (at) => changeTimers(at, [{ plan, event: row.event, sequence }]) }
    } catch (error) {
      if (error instanceof Interrupted) return undefined
      if (!(error instanceof CallFailure)) throw error
      return { cause: error.cause }
    }
  }

  async #retryOne(build: Build, row: ParkedRow, sequence: string): Promise<Plan> {
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

/** What belongs to one sequence, in order, for each of them. */
function bySequence<T extends { readonly sequence: string }>(all: readonly T[]): T[][] {
  const sequences = new Map<string, T[]>()
  for (const one of all) {
    const same = sequences.get(one.sequence)
    if (same) same.push(one)
    else sequences.set(one.sequence, [one])
  }
  return [...sequences.values()]
}

/** Milliseconds after which a batch ends early. */
const MAX_BATCH_MS = 100
/** How long a worker sleeps at most before it looks at the computer's clock again. */
const MAX_SLEEP_MS = 1_000
const TIMERS_PER_PAGE = 500
