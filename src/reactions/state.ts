import {
  ask,
  type ProjectionTarget,
  type TargetQuery,
  type TargetRow,
  type TargetSteps,
  type TargetValue,
} from '../adapter/projection-target.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import type { Checkpoint } from '../store/event-store.ts'
import { LostRace } from '../projections/batch.ts'
import { type Build, type Failure, movedTo } from '../projections/builds.ts'
import type { Holder } from '../projections/handling.ts'
import type { Plan, PlannedTimer, TimerChange } from './plan.ts'

/** A step of a reaction: what changes in its row. */
export interface Step {
  /** What is begun and not finished, as JSON. */
  readonly plan: string | undefined
  /** Where the checkpoint moves; `undefined`: it stays. */
  readonly to?: Checkpoint | undefined
  /** How many events were handled. */
  readonly count?: number | undefined
}

/** A transaction of a reaction. */
export interface StepTransaction {
  readonly target: ProjectionTarget<unknown>
  readonly build: Build
  readonly holder: Holder
  readonly step: Step
}

/**
 * Runs a transaction behind the fence of a reaction, which counts its transactions: of two workers one is refused, whatever
 * else the transaction does. The fence is sent together with the beginning; without work, it is all there is.
 *
 * @returns the build after it. @throws LostRace
 */
export async function takeStep(
  { target, build, holder, step }: StepTransaction,
  work?: (at: Build) => TargetSteps<unknown>,
): Promise<Build> {
  const { plan, to, count = 0 } = step
  const { name, generation, version, checkpoint } = build
  const place = to ?? checkpoint
  const fence: TargetQuery = {
    sql: `UPDATE PROJECTIONS SET step = step + 1, plan = $1, store = $2, position = $3, event_id = $4, applied = applied + $5,
        ${to ? "state = 'running', failure = NULL," : ''}
        lease_until = CASE WHEN owner = $6 THEN NOW + $7 ELSE lease_until END
      WHERE name = $8 AND generation = $9 AND version = $10 AND role = 'live' AND step = $11
        AND position IS NOT DISTINCT FROM $12 AND event_id IS NOT DISTINCT FROM $13 RETURNING name`,
    values: [
      ...[plan ?? null, place?.store ?? null, place?.position ?? null, place?.id ?? null, count],
      ...[holder.owner, holder.lease, name, generation, version, build.step],
      ...[checkpoint?.position ?? null, checkpoint?.id ?? null],
    ],
  }
  const after = { ...build, step: build.step + 1, plan }
  const at = to ? movedTo(after, to, count) : { ...after, applied: build.applied + count }
  if (work) {
    await target.transaction(
      function* (_, rows) {
        checkStood(rows)
        yield* work(at)
      },
      holder.lease,
      fence,
    )
  } else checkStood(await target.change(fence))
  return at
}

/** @throws LostRace if the fence has changed no row. */
function checkStood(rows: readonly TargetRow[]): void {
  if (rows.length === 0) throw new LostRace()
}

/** The transactions of a worker, one after the other: each is refused if another worker had one meanwhile. */
export class Steps {
  readonly #target: ProjectionTarget<unknown>
  readonly #holder: Holder
  #step = 0

  constructor(target: ProjectionTarget<unknown>, holder: Holder) {
    this.#target = target
    this.#holder = holder
  }

  /** The worker has taken the lease. */
  begin({ step }: Build): void {
    this.#step = step
  }

  /** @returns the build after it. @throws LostRace */
  async take(build: Build, step: Step, work?: (at: Build) => TargetSteps<unknown>): Promise<Build> {
    const at = { ...build, step: this.#step }
    const moved = await takeStep({ target: this.#target, build: at, holder: this.#holder, step }, work)
    this.#step = moved.step
    return moved
  }
}

/** An event whose plan is carried out, as far as timers have to know it. */
export interface SetBy {
  readonly plan: Plan
  readonly event: Pick<StoredEvent, 'stream' | 'revision'>
  readonly sequence: string
}

/** Sets and cancels timers: of each, what is said last counts. A timer that is being fired is not touched. */
export function* changeTimers({ name }: Build, all: readonly SetBy[]): TargetSteps<void> {
  const last = new Map<string, readonly TargetValue[] | undefined>()
  for (const { plan, event, sequence } of all) {
    for (const change of plan.timers) {
      if ('cancel' in change) last.set(change.cancel, undefined)
      else {
        const { timer, due } = change
        const planned = JSON.stringify(planOfTimer(change, plan))
        last.set(timer, [timer, plan.id, Math.round(due), sequence, event.stream, event.revision, planned])
      }
    }
  }
  for (const names of partsOf([...last.keys()])) {
    const list = names.map((_, i) => `$${String(i + 2)}`).join()
    yield* ask(
      `DELETE FROM TIMERS WHERE name = $1 AND timer IN (${list}) AND state <> 'firing'`,
      ...[name, ...names],
    )
  }
  for (const rows of partsOf([...last.values()].filter((row) => row !== undefined))) {
    const list = rows.map((row, i) => `($1, 'waiting', ${parameters(row.length, 2 + i * row.length)})`).join()
    yield* ask(
      `INSERT INTO TIMERS (name, state, timer, event_id, due, sequence, stream, revision, plan) VALUES ${list}
        ON CONFLICT DO NOTHING`,
      ...[name, ...rows.flat()],
    )
  }
}

/** So many parameters of a query, the first of which has a number. */
function parameters(count: number, first: number): string {
  return Array.from({ length: count }, (_, i) => `$${String(first + i)}`).join()
}

/**
 * A list in parts of 1, 10 or 100, for statements that treat all of a part alike: few statements have to be prepared. To fill
 * a part, its last item is repeated.
 */
function partsOf<T>(items: readonly T[]): T[][] {
  const parts: T[][] = []
  for (let from = 0; from < items.length;) {
    const left = items.length - from
    const size = left > 10 ? 100 : left > 1 ? 10 : 1
    const part = items.slice(from, from + size)
    parts.push([...part, ...Array<T>(size - part.length).fill(part.at(-1)!)])
    from += size
  }
  return parts
}

function planOfTimer({ path, command, input }: PlannedTimer, { id, version, metadata }: Plan): Plan {
  return { id, version, metadata, calls: [{ path, command, input }], timers: [] }
}

/** The earliest of the timers that are set. */
export function earliestOf(changes: readonly TimerChange[]): number {
  return Math.min(Infinity, ...changes.map((change) => ('cancel' in change ? Infinity : change.due)))
}

/** A timer as it is stored. */
export interface StoredTimer {
  readonly timer: string
  readonly eventId: string
  readonly state: 'waiting' | 'firing' | 'parked'
  /** Milliseconds since 1970. */
  readonly due: number
  readonly sequence: string
  readonly stream: string
  readonly revision: number
  readonly plan: Plan
  readonly failure: Failure | undefined
}

export const TIMER_COLUMNS = 'timer, event_id, state, due, sequence, stream, revision, plan, failure'

export function timerOf(row: TargetRow): StoredTimer {
  const failure = row.failure as string | null
  return {
    timer: row.timer as string,
    eventId: row.event_id as string,
    state: row.state as StoredTimer['state'],
    due: Number(row.due),
    sequence: row.sequence as string,
    stream: row.stream as string,
    revision: Number(row.revision),
    plan: JSON.parse(row.plan as string) as Plan,
    failure: failure === null ? undefined : (JSON.parse(failure) as Failure),
  }
}

/** Timers of a sequence with a parked event wait for it: the event may cancel them. */
const IS_HELD =
  'EXISTS (SELECT 1 FROM PARKED k WHERE k.name = TIMERS.name AND k.generation = $2 AND k.sequence = TIMERS.sequence)'

/** When the next timer is due, in milliseconds since 1970; Infinity if none waits. */
export function* nextDue({ name, generation }: Build): TargetSteps<number> {
  const [row] = yield* ask(
    `SELECT due FROM TIMERS WHERE name = $1 AND state = 'waiting' AND NOT ${IS_HELD} ORDER BY due, timer LIMIT 1`,
    ...[name, generation],
  )
  return row ? Number(row.due) : Infinity
}

/** Decides for the timers that are due by a time: from here on they are fired, and cannot be cancelled. */
export function* markDue({ name, generation }: Build, by: number, limit: number): TargetSteps<void> {
  yield* ask(
    `UPDATE TIMERS SET state = 'firing' WHERE name = $1 AND (timer, event_id) IN (
        SELECT timer, event_id FROM TIMERS WHERE name = $1 AND state = 'waiting' AND due <= $3 AND NOT ${IS_HELD}
        ORDER BY due, timer LIMIT ${String(limit)})`,
    ...[name, generation, by],
  )
}

/** The timers that are being fired, in the order of their due time. */
export function* findFiring({ name }: Build, limit: number): TargetSteps<StoredTimer[]> {
  const rows = yield* ask(
    `SELECT ${TIMER_COLUMNS} FROM TIMERS WHERE name = $1 AND state = 'firing' ORDER BY due, timer LIMIT ${String(limit)}`,
    name,
  )
  return rows.map(timerOf)
}

/** Keeps the plan of a timer that is being fired. */
export function* keepTimerPlan({ name }: Build, { timer, eventId, plan }: StoredTimer): TargetSteps<void> {
  yield* ask(
    'UPDATE TIMERS SET plan = $1 WHERE name = $2 AND timer = $3 AND event_id = $4',
    ...[JSON.stringify(plan), name, timer, eventId],
  )
}

/** Removes timers that were fired. */
export function* removeTimers({ name }: Build, timers: readonly StoredTimer[]): TargetSteps<void> {
  for (const part of partsOf(timers)) {
    const list = part.map((_, i) => `(${parameters(2, 2 + 2 * i)})`).join()
    yield* ask(
      `DELETE FROM TIMERS WHERE name = $1 AND (timer, event_id) IN (VALUES ${list})`,
      ...[name, ...part.flatMap(({ timer, eventId }) => [timer, eventId])],
    )
  }
}

/** Sets a timer aside whose call fails. */
export function* parkTimer(
  { name }: Build,
  { timer, eventId }: StoredTimer,
  failure: Failure,
): TargetSteps<void> {
  yield* ask(
    "UPDATE TIMERS SET state = 'parked', failure = $1 WHERE name = $2 AND timer = $3 AND event_id = $4",
    ...[JSON.stringify(failure), name, timer, eventId],
  )
}
