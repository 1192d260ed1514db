import { isMnemeError, ProjectionVersionError } from '../base/errors.ts'
import { currentTime } from '../base/clock.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import {
  advance,
  type Build,
  countHandled,
  type Failure,
  findBuilds,
  movedTo,
  pinLive,
  pinOf,
} from './builds.ts'
import { ask, causesOf, settle, type TargetSteps } from '../adapter/projection-target.ts'
import type { Checkpoint } from '../store/event-store.ts'
import { contextOf, failedAt, HandlerFailure, handlerOf, handling, type Holder, LostRace } from './batch.ts'
import type { Deadline } from './deadline.ts'
import type { Definition } from './define.ts'
import type { Recorded } from '../model/event.ts'
import { fromStored } from '../store/decode.ts'

/** What is stored of an error, and of the event that it was thrown on. */
export function failureOf(error: unknown, attempts: number, event?: StoredEvent): Failure {
  const { name, message, code } = (error ?? {}) as Partial<Error> & { readonly code?: unknown }
  const failure: Failure = {
    name: typeof name === 'string' ? name : typeof error,
    message: (typeof message === 'string' ? message : textOf(error)).slice(0, MAX_MESSAGE_LENGTH),
    code: typeof code === 'string' ? code : undefined,
    attempts,
    time: currentTime(),
    event: event && {
      position: event.position,
      id: event.id,
      type: event.type,
      stream: event.stream,
      revision: event.revision,
    },
    stack: stackOf(error),
  }
  // Not enumerable, so that it is not stored with the rest.
  return Object.defineProperty(failure, 'error', { value: error })
}

function stackOf(error: unknown): string | undefined {
  const stacks = [...causesOf(error)].flatMap((cause) => {
    const { stack } = cause as { readonly stack?: unknown }
    return typeof stack === 'string' ? stack : []
  })
  return stacks.length > 0 ? stacks.join('\ncaused by: ').slice(0, MAX_STACK_LENGTH) : undefined
}

/** The text of a thrown value that is not an error. */
function textOf(thrown: unknown): string {
  try {
    return String(thrown)
  } catch {
    return 'a value that cannot be converted to text'
  }
}

/** Whether the store or the target failed rather than a handler: this is retried without an end. */
export function isOfDatabase(error: unknown): boolean {
  return (
    isMnemeError(error) &&
    (error.isRetryable || error.code === 'OUTCOME_UNKNOWN' || error.code === 'CANNOT_OPEN')
  )
}

/** Whether the checkpoint is not part of the store's history: a person has to decide. */
export function isOfHistory(error: unknown): boolean {
  return (
    isMnemeError(error) &&
    (error.code === 'HISTORY_REWOUND' || error.code === 'CHECKPOINT_FROM_ANOTHER_STORE')
  )
}

/** In UTF-16 units. */
const MAX_MESSAGE_LENGTH = 2_000
/** In UTF-16 units. */
const MAX_STACK_LENGTH = 8_000

/** An event that was set aside because its handler failed at each attempt. */
export interface ParkedEvent {
  /** As it is stored. */
  readonly event: Recorded
  readonly failure: Failure
}

/** An event to set aside, and the place up to which the log was read with it. */
export interface Parking {
  readonly event: StoredEvent
  readonly through: Checkpoint
  readonly failure: Failure
}

/** Sets an event aside, and moves the checkpoint past it, in one transaction. @throws LostRace */
export function* park(
  build: Build,
  { event, through, failure }: Parking,
  holder: Holder,
): TargetSteps<Build> {
  if ((yield pinOf(build)).length === 0) throw new LostRace()
  yield* ask(
    'INSERT INTO PARKED (name, generation, position, event, failure) VALUES ($1, $2, $3, $4, $5)',
    ...[build.name, build.generation, event.position, JSON.stringify(event), JSON.stringify(failure)],
  )
  if (!(yield* advance(build, through, { count: 0, ...holder }))) throw new LostRace()
  return movedTo(build, through, 0)
}

/** The events that the live build has set aside, in the order of the store. */
export function* findParked(name: string): TargetSteps<ParkedEvent[]> {
  const rows = yield* ask(
    `SELECT k.event, k.failure FROM PARKED k
      JOIN PROJECTIONS p ON p.name = k.name AND p.generation = k.generation AND p.role = 'live'
      WHERE k.name = $1 ORDER BY k.position`,
    name,
  )
  return rows.map(({ event, failure }) => ({
    event: fromStored(JSON.parse(event as string) as StoredEvent),
    failure: JSON.parse(failure as string) as Failure,
  }))
}

/** How many events a build has set aside. */
export function* countParked({ name, generation }: Build): TargetSteps<number> {
  const [row] = yield* ask(
    'SELECT count(*) AS parked FROM PARKED WHERE name = $1 AND generation = $2',
    ...[name, generation],
  )
  return Number(row?.parked ?? 0)
}

/** Deletes the events that a build has set aside. */
export function* dropParked({ name, generation }: Build): TargetSteps<void> {
  yield* ask('DELETE FROM PARKED WHERE name = $1 AND generation = $2', name, generation)
}

/** How many of the events that were set aside were handled now, and how many failed again. */
export interface Retried {
  readonly handled: number
  readonly failed: number
}

/**
 * Handles the events that were set aside once more, each in a transaction of its own, in the order of the store; those
 * that fail again stay set aside.
 *
 * @param idleTimeout as of a target's `transaction`, in milliseconds.
 * @throws ProjectionVersionError if the read model has another version than the handlers.
 */
export async function retryParked(definition: Definition, idleTimeout: number): Promise<Retried> {
  const { name, version, target } = definition
  const { live } = await target.read(() => findBuilds(name))
  if (!live) return { handled: 0, failed: 0 }
  if (live.version !== version)
    throw new ProjectionVersionError(
      { projection: name, defined: version, built: live.version },
      'retry with the handlers of that version',
    )
  const rows = await target.read(() =>
    ask(
      'SELECT position FROM PARKED WHERE name = $1 AND generation = $2 ORDER BY position',
      ...[name, live.generation],
    ),
  )
  let [handled, failed] = [0, 0]
  for (const row of rows) {
    const position = row.position as string
    try {
      const wasThere = await handling(
        definition,
        (tx, _, deadline) => handleParked(definition, live, { position, tx, deadline }),
        idleTimeout,
      )
      if (wasThere) handled++
    } catch (error) {
      if (!(error instanceof HandlerFailure)) throw error
      failed++
      await target.transaction(() => noteAgain(live, position, error.cause), idleTimeout)
    }
  }
  return { handled, failed }
}

function* handleParked(
  definition: Definition,
  live: Build,
  {
    position,
    tx,
    deadline,
  }: { readonly position: string; readonly tx: unknown; readonly deadline: Deadline },
): TargetSteps<boolean> {
  // Locked, it is neither reset nor replaced meanwhile; of two concurrent calls, one finds the event gone.
  if (!(yield* pinLive(live))) return false
  const [row] = yield* ask(
    'DELETE FROM PARKED WHERE name = $1 AND generation = $2 AND position = $3 RETURNING event',
    ...[live.name, live.generation, position],
  )
  if (!row) return false
  const { selection, handlers } = definition
  const stored = JSON.parse(row.event as string) as StoredEvent
  const type = selection.typeOf(stored)
  if (type === undefined) return true
  try {
    const returned = handlers.get(type)!(selection.decode(stored), tx, contextOf(definition, live))
    yield* settle(returned, deadline, handlerOf(type))
  } catch (error) {
    throw failedAt(0, error, definition, type)
  }
  // Last, in the same order as a batch locks its rows: otherwise the two might deadlock.
  yield* countHandled(live)
  return true
}

function* noteAgain({ name, generation }: Build, position: string, cause: unknown): TargetSteps<void> {
  const where = 'WHERE name = $1 AND generation = $2 AND position = $3'
  const [row] = yield* ask(`SELECT event, failure FROM PARKED ${where}`, name, generation, position)
  if (!row) return
  const { attempts } = JSON.parse(row.failure as string) as Failure
  const failure = failureOf(cause, attempts + 1, JSON.parse(row.event as string) as StoredEvent)
  yield* ask(
    `UPDATE PARKED SET failure = $4 ${where}`,
    ...[name, generation, position, JSON.stringify(failure)],
  )
}
