import { ask, type TargetSteps } from '../adapter/projection-target.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import type { Build, Failure } from '../projections/builds.ts'
import { failureOf } from '../projections/failures.ts'
import type { Plan } from './plan.ts'

/** An event that is set aside, with its sequence. */
export interface Aside {
  readonly event: StoredEvent
  readonly sequence: string
  readonly failure: Failure
  /** What was begun of it. */
  readonly plan: Plan | undefined
}

/** Sets an event aside. */
export function* setAside(
  { name, generation }: Build,
  { event, sequence, failure, plan }: Aside,
): TargetSteps<void> {
  yield* ask(
    `INSERT INTO PARKED (name, generation, position, event, failure, sequence, plan)
      VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
    ...[name, generation, event.position, JSON.stringify(event), JSON.stringify(failure), sequence],
    plan ? JSON.stringify(plan) : null,
  )
}

/** Sets events aside behind a parked event of their sequence. */
export function* setAsideBehind(
  build: Build,
  behind: readonly { readonly stored: StoredEvent; readonly sequence: string }[],
): TargetSteps<void> {
  for (const { stored, sequence } of behind) {
    const failure = waitsBehind(stored, sequence)
    yield* setAside(build, { event: stored, sequence, failure, plan: undefined })
  }
}

/** Why an event is set aside behind another one. */
function waitsBehind(event: StoredEvent, sequence: string): Failure {
  const error = new Error(`it waits behind a parked event of its sequence '${sequence}'`)
  error.name = 'WaitsBehind'
  delete error.stack
  return failureOf(error, 0, event)
}

/** The sequences of which an event is set aside. */
export function* parkedSequences({ name, generation }: Build): TargetSteps<Set<string>> {
  const rows = yield* ask(
    'SELECT DISTINCT sequence FROM PARKED WHERE name = $1 AND generation = $2 AND sequence IS NOT NULL',
    ...[name, generation],
  )
  return new Set(rows.map(({ sequence }) => sequence as string))
}

/** The worker is asked to try an event again, or to give it up. */
export const ASKED = { retry: 1, discard: 2 }

/** Asks the worker for something, for one event or all. Returns how many events that are. */
export function* askFor(
  { name, generation }: Build,
  asked: keyof typeof ASKED,
  id: string | undefined,
): TargetSteps<number> {
  let count = 0
  const rows = yield* ask(
    'SELECT position, event, sequence FROM PARKED WHERE name = $1 AND generation = $2 AND asked <> $3 ORDER BY position',
    ...[name, generation, ASKED.discard],
  )
  for (const { position, event } of rows) {
    if (id !== undefined && (JSON.parse(event as string) as StoredEvent).id !== id) continue
    yield* ask(
      'UPDATE PARKED SET asked = $4 WHERE name = $1 AND generation = $2 AND position = $3',
      ...[name, generation, position as string, ASKED[asked]],
    )
    count++
  }
  return count
}

/** A sequence of which the worker is asked for something; `undefined`: none. */
export function* askedSequence({ name, generation }: Build): TargetSteps<string | undefined> {
  const [row] = yield* ask(
    'SELECT sequence FROM PARKED WHERE name = $1 AND generation = $2 AND asked > 0 ORDER BY position LIMIT 1',
    ...[name, generation],
  )
  return row?.sequence as string | undefined
}

/** A parked event as the worker handles it. */
export interface ParkedRow {
  readonly event: StoredEvent
  readonly plan: Plan | undefined
  readonly asked: number
  readonly failure: Failure
}

/** The first of a sequence's parked events. */
export function* firstParked(
  { name, generation }: Build,
  sequence: string,
): TargetSteps<ParkedRow | undefined> {
  const [row] = yield* ask(
    `SELECT event, plan, asked, failure FROM PARKED WHERE name = $1 AND generation = $2 AND sequence = $3
      ORDER BY position LIMIT 1`,
    ...[name, generation, sequence],
  )
  if (!row) return undefined
  const plan = row.plan as string | null
  return {
    event: JSON.parse(row.event as string) as StoredEvent,
    plan: plan === null ? undefined : (JSON.parse(plan) as Plan),
    asked: Number(row.asked),
    failure: JSON.parse(row.failure as string) as Failure,
  }
}

export function* removeParked({ name, generation }: Build, position: string): TargetSteps<void> {
  yield* ask(
    'DELETE FROM PARKED WHERE name = $1 AND generation = $2 AND position = $3',
    ...[name, generation, position],
  )
}

/** Gives up the events that the worker was asked to give up. */
export function* removeDiscarded({ name, generation }: Build, sequence: string): TargetSteps<boolean> {
  const rows = yield* ask(
    'DELETE FROM PARKED WHERE name = $1 AND generation = $2 AND sequence = $3 AND asked = $4 RETURNING position',
    ...[name, generation, sequence, ASKED.discard],
  )
  return rows.length > 0
}

/** A parked event failed again: its sequence waits for a person. */
export function* keepParked(
  { name, generation }: Build,
  sequence: string,
  {
    position,
    failure,
    plan,
  }: { readonly position: string; readonly failure: Failure; readonly plan: Plan | undefined },
): TargetSteps<void> {
  yield* ask(
    'UPDATE PARKED SET failure = $4, plan = $5 WHERE name = $1 AND generation = $2 AND position = $3',
    ...[name, generation, position, JSON.stringify(failure), plan ? JSON.stringify(plan) : null],
  )
  yield* ask(
    'UPDATE PARKED SET asked = 0 WHERE name = $1 AND generation = $2 AND sequence = $3',
    ...[name, generation, sequence],
  )
}

/** Keeps what was begun of a parked event. */
export function* keepParkedPlan(
  { name, generation }: Build,
  position: string,
  plan: Plan,
): TargetSteps<void> {
  yield* ask(
    'UPDATE PARKED SET plan = $4 WHERE name = $1 AND generation = $2 AND position = $3',
    ...[name, generation, position, JSON.stringify(plan)],
  )
}
