import { checkOptions, checkSignal, checkWhole } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import type { Position } from '../base/revision.ts'
import { ask, type ProjectionTarget, type TargetSteps } from '../adapter/projection-target.ts'
import { checkText } from '../model/names.ts'
import type { EventStore } from '../store/event-store.ts'
import { coreOf } from '../store/create-store.ts'
import { LostRace } from '../projections/batch.ts'
import { checkKind, checkpointAt, clearBlock, type Failure, findBuilds } from '../projections/builds.ts'
import { eventAt, findParked, type ParkedEvent } from '../projections/parked.ts'
import { Progress } from '../projections/progress.ts'
import { type CaughtUpOptions, LEASE_MS } from '../projections/projection.ts'
import { NextLook } from '../projections/next-look.ts'
import { prepareTarget } from '../projections/schema.ts'
import { type ProjectionStatus, statusOf } from '../projections/status.ts'
import { checkTimerName } from './effects.ts'
import { Nudge } from './nudge.ts'
import { askFor, setAside } from './parking.ts'
import type { Plan } from './plan.ts'
import { followedIn, type FollowerSpec, sequenceToPark } from './spec.ts'
import { type StoredTimer, takeStep, TIMER_COLUMNS, timerOf } from './state.ts'

/** Where a reaction or a relay stands. */
export type ReactionStatus = Omit<ProjectionStatus, 'rebuild'>

/** A relay, or a reaction, in the database that holds its state: what a person on duty can see and do, in any process. */
export interface RelayControl {
  /** Its state, its position in the history of a store, and its lag. */
  status(store: EventStore): Promise<ReactionStatus>
  /**
   * Resolves when every event up to a position has been handled, by whichever process: the calls that followed from it at once
   * were executed, and its timers are set.
   *
   * @throws NotCaughtUpError after `timeout` milliseconds (default: 5,000); ProjectionBlockedError if it is blocked.
   */
  caughtUpTo(position: Position | undefined, options?: CaughtUpOptions): Promise<void>
  /** Lets it try again if it is blocked. Resolves with whether it was. */
  unblock(): Promise<boolean>
  /** The events that were set aside, and those that wait behind them, in the order of the store. */
  parked(): Promise<readonly ParkedEvent[]>
  /**
   * Sets the event or the timer aside on which it is blocked, and lets it go on behind it, whatever its `onError` says. The
   * later events of the same sequence are set aside, too. Resolves with whether it was blocked on one.
   *
   * @throws InvalidArgumentError if the store does not have that event.
   */
  parkAndGoOn(store: EventStore): Promise<boolean>
  /**
   * Asks the worker to handle events that were set aside once more: those of one sequence in order, up to the first that
   * fails again. Resolves at once with how many were asked for; the worker does it within seconds.
   *
   * @param id of one event, whose sequence is handled. Default: all.
   */
  retryParked(id?: string): Promise<number>
  /**
   * Gives an event that was set aside up for good; the worker then handles those that waited behind it. Resolves with whether
   * it was set aside.
   */
  discard(id: string): Promise<boolean>
}

/** A reaction in the database that holds its state. */
export interface ReactionControl extends RelayControl {
  /** Its timers, in the order of their due time: the first 100, or those behind another one. */
  timers(options?: TimersOptions): Promise<readonly Timer[]>
  /**
   * Decides to fire a timer now; from then on it cannot be cancelled. The worker does it within seconds. Resolves with whether
   * it waited, or was set aside.
   */
  fireTimer(timer: string): Promise<boolean>
  /** Cancels a timer. Resolves with whether it was, and false if there is none or if it is being fired. */
  cancelTimer(timer: string): Promise<boolean>
}

/** Options of `timers`. */
export interface TimersOptions {
  /** How many at most. Default: 100. */
  readonly limit?: number | undefined
  /** Only those behind this one, which an earlier call gave. */
  readonly after?: Timer | undefined
}

/** A timer of a reaction. */
export interface Timer {
  readonly timer: string
  /** When its command is executed: ISO 8601. */
  readonly due: string
  /** `'firing'`: that is decided; `'parked'`: its command failed, and the timer was set aside. */
  readonly state: 'waiting' | 'firing' | 'parked'
  /** The name of its command. */
  readonly command: string
  readonly input: unknown
  /** The event that set it. */
  readonly event: { readonly id: string; readonly stream: string; readonly revision: number }
  readonly sequence: string
  /** Why it was set aside. */
  readonly failure: Failure | undefined
}

export class StateControl implements ReactionControl {
  readonly #spec: FollowerSpec
  readonly #target: ProjectionTarget<unknown>

  constructor(spec: FollowerSpec, state: ProjectionTarget<unknown>) {
    if (typeof (state as Partial<typeof state> | undefined)?.transaction !== 'function') {
      throw new InvalidArgumentError('state', 'a target, like sqliteTarget(...) or postgresTarget(...)')
    }
    this.#spec = spec
    this.#target = state
  }

  async status(store: EventStore): Promise<ReactionStatus> {
    await this.#prepare()
    const { rebuild: _, ...status } = await statusOf(followedIn(this.#spec, this.#target), coreOf(store))
    return status
  }

  async caughtUpTo(position: Position | undefined, options: CaughtUpOptions = {}): Promise<void> {
    const { timeout = 5_000 } = checkOptions(options, 'options', ['timeout', 'signal'])
    const signal = checkSignal(options.signal)
    checkWhole(timeout, 'options.timeout', 0)
    if (position === undefined) return
    const progress = new Progress(followedIn(this.#spec, this.#target))
    await progress.reach(position, { timeout, signal, isOfAnyVersion: true })
  }

  async unblock(): Promise<boolean> {
    const wasBlocked = await this.#change(clearBlock)
    NextLook.isChanged(this.#spec.name)
    return wasBlocked
  }

  async parked(): Promise<readonly ParkedEvent[]> {
    await this.#prepare()
    return this.#target.read(() => findParked(this.#spec.name))
  }

  async parkAndGoOn(store: EventStore): Promise<boolean> {
    const core = coreOf(store)
    await this.#prepare()
    const { name } = this.#spec
    const { live } = await this.#target.read(() => findBuilds(name))
    const { failure } = live ?? {}
    if (live?.state !== 'blocked' || !failure) return false
    const holder = { owner: live.owner ?? '', lease: LEASE_MS }
    const blocked = { target: this.#target, build: live, holder }
    const { timer } = failure
    try {
      if (timer !== undefined) {
        await takeStep({ ...blocked, step: { plan: live.plan } }, function* () {
          yield* ask(
            "UPDATE TIMERS SET state = 'parked', failure = $1 WHERE name = $2 AND timer = $3 AND state = 'firing'",
            ...[JSON.stringify(failure), name, timer],
          )
          yield* clearBlock(name)
        })
        return true
      }
      if (!failure.event) return false
      const event = await eventAt(this.#spec, core, { build: live, ...failure.event })
      const through = checkpointAt(await core.identity(), event)
      const plans = live.plan === undefined ? [] : (JSON.parse(live.plan) as Plan[])
      const rest = plans.filter(({ id }) => id !== event.id)
      const plan = plans.find(({ id }) => id === event.id)
      const sequence = sequenceToPark(this.#spec, event)
      const left = rest.length > 0 ? JSON.stringify(rest) : undefined
      await takeStep({ ...blocked, step: { plan: left, to: through } }, (at) =>
        setAside(at, { event, sequence, failure, plan }),
      )
      return true
    } catch (error) {
      // It was unblocked or parked by another call meanwhile.
      if (error instanceof LostRace) return false
      throw error
    } finally {
      NextLook.isChanged(name)
    }
  }

  async retryParked(id?: string): Promise<number> {
    if (id !== undefined) checkText(id, 'id', 'the id of an event')
    return this.#ask('retry', id)
  }

  async discard(id: string): Promise<boolean> {
    checkText(id, 'id', 'the id of an event')
    return (await this.#ask('discard', id)) > 0
  }

  async #ask(what: 'retry' | 'discard', id: string | undefined): Promise<number> {
    return this.#change(function* (name) {
      const { live } = yield* findBuilds(name)
      return live ? yield* askFor(live, what, id) : 0
    })
  }

  async timers(options: TimersOptions = {}): Promise<readonly Timer[]> {
    const find = timersOf(checkOptions(options, 'options', ['limit', 'after']))
    await this.#prepare()
    return this.#target.read(() => find(this.#spec.name))
  }

  async fireTimer(timer: string): Promise<boolean> {
    checkTimerName({ timer })
    return this.#change(function* (name) {
      const rows = yield* ask(
        "UPDATE TIMERS SET state = 'firing', failure = NULL WHERE name = $1 AND timer = $2 AND state <> 'firing' RETURNING timer",
        ...[name, timer],
      )
      return rows.length > 0
    })
  }

  async cancelTimer(timer: string): Promise<boolean> {
    checkTimerName({ timer })
    return this.#change(function* (name) {
      const rows = yield* ask(
        "DELETE FROM TIMERS WHERE name = $1 AND timer = $2 AND state <> 'firing' RETURNING timer",
        ...[name, timer],
      )
      return rows.length > 0
    })
  }

  async #change<T>(work: (name: string) => TargetSteps<T>): Promise<T> {
    await this.#prepare()
    const { name } = this.#spec
    const changed = await this.#target.transaction(() => work(name), LEASE_MS)
    Nudge.wake(name)
    return changed
  }

  /** @throws InvalidArgumentError if its name is that of something else. */
  async #prepare(): Promise<void> {
    const { name, kind } = this.#spec
    await prepareTarget(this.#target)
    await checkKind(this.#target, name, kind)
  }
}

/** Finds the timers of a reaction. @throws InvalidArgumentError */
export function timersOf({ limit = 100, after }: TimersOptions): (name: string) => TargetSteps<Timer[]> {
  checkWhole(limit, 'options.limit', 1)
  const from = after && Date.parse(after.due)
  if (from !== undefined && Number.isNaN(from)) {
    throw new InvalidArgumentError('options.after', 'a timer that an earlier call gave')
  }
  return function* (name) {
    const place = after ? 'AND (due, timer, event_id) > ($2, $3, $4)' : ''
    const rows = yield* ask(
      `SELECT ${TIMER_COLUMNS} FROM TIMERS WHERE name = $1 ${place} ORDER BY due, timer, event_id LIMIT ${String(limit)}`,
      ...[name, ...(after ? [from!, after.timer, after.event.id] : [])],
    )
    return rows.map(timerOf).map(shownOf)
  }
}

function shownOf({
  timer,
  due,
  state,
  plan,
  eventId,
  stream,
  revision,
  sequence,
  failure,
}: StoredTimer): Timer {
  const [call] = plan.calls
  return {
    timer,
    due: new Date(due).toISOString(),
    state,
    command: call?.command ?? '',
    input: call?.input,
    event: { id: eventId, stream, revision },
    sequence,
    failure,
  }
}
