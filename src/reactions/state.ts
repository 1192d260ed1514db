import { ask, type TargetRow, type TargetSteps } from '../adapter/projection-target.ts'
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

/**
 * The fence of a reaction: counts its transactions, so that of two workers one is refused, whatever else the transaction does.
 *
 * @returns the build after it. @throws LostRace
 */
export function* takeStep(
  build: Build,
  { owner, lease }: Holder,
  { plan, to, count = 0 }: Step,
): TargetSteps<Build> {
  const { name, generation, version, step, checkpoint } = build
  const place = to ?? checkpoint
  const rows = yield* ask(
    `UPDATE PROJECTIONS SET step = step + 1, plan = $1, store = $2, position = $3, event_id = $4, applied = applied + $5,
        ${to ? "state = 'running', failure = NULL," : ''}
        lease_until = CASE WHEN owner = $6 THEN NOW + $7 ELSE lease_until END
      WHERE name = $8 AND generation = $9 AND version = $10 AND role = 'live' AND step = $11
        AND position IS NOT DISTINCT FROM $12 AND event_id IS NOT DISTINCT FROM $13 RETURNING name`,
    ...[plan ?? null, place?.store ?? null, place?.position ?? null, place?.id ?? null, count, owner, lease],
    ...[name, generation, version, step, checkpoint?.position ?? null, checkpoint?.id ?? null],
  )
  if (rows.length === 0) throw new LostRace()
  const next = { ...build, step: step + 1, plan }
  return to ? movedTo(next, to, count) : { ...next, applied: build.applied + count }
}

/** An event whose plan is carried out, as far as timers have to know it. */
export interface SetBy {
  readonly plan: Plan
  readonly event: Pick<StoredEvent, 'stream' | 'revision'>
  readonly sequence: string
}

/** Sets and cancels timers, in their order. A timer that is being fired is not touched. */
export function* changeTimers({ name }: Build, { plan, event, sequence }: SetBy): TargetSteps<void> {
  for (const change of plan.timers) {
    const timer = 'cancel' in change ? change.cancel : change.timer
    yield* ask("DELETE FROM TIMERS WHERE name = $1 AND timer = $2 AND state <> 'firing'", name, timer)
    if ('cancel' in change) continue
    yield* ask(
      `INSERT INTO TIMERS (name, timer, event_id, state, due, sequence, stream, revision, plan)
        VALUES ($1, $2, $3, 'waiting', $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
      ...[name, timer, plan.id, Math.round(change.due), sequence, event.stream, event.revision],
      JSON.stringify(planOfTimer(change, plan)),
    )
  }
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

/** Removes a timer that was fired. */
export function* removeTimer({ name }: Build, { timer, eventId }: StoredTimer): TargetSteps<void> {
  yield* ask('DELETE FROM TIMERS WHERE name = $1 AND timer = $2 AND event_id = $3', ...[name, timer, eventId])
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
