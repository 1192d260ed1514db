import { ask, settle, type TargetSteps } from '../adapter/projection-target.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import { InvalidArgumentError, ProjectionVersionError } from '../base/errors.ts'
import type { Recorded } from '../model/event.ts'
import { fromStored } from '../store/decode.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import { contextOf, failedAt, HandlerFailure, handlerOf, handling, LostRace, revealingOf } from './batch.ts'
import type { Revealing } from '../store/revealing.ts'
import {
  advance,
  type Build,
  checkpointAt,
  countHandled,
  type FailedEvent,
  type Failure,
  findBuilds,
  movedTo,
  pinLive,
  pinOf,
} from './builds.ts'
import type { Deadline } from './deadline.ts'
import type { Definition } from './define.ts'
import { failureOf } from './failures.ts'
import type { Followed, Holder, Parking } from './handling.ts'

/** An event that was set aside because its handler failed at each attempt. */
export interface ParkedEvent {
  /** As it is stored. */
  readonly event: Recorded
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
    // If another worker, or a person, was faster, the checkpoint has moved: that is noticed below.
    'INSERT INTO PARKED (name, generation, position, event, failure) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING',
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
      WHERE k.name = $1 AND k.asked < 2 ORDER BY k.position`,
    name,
  )
  return rows.map(({ event, failure }) => ({
    event: fromStored(JSON.parse(event as string) as StoredEvent),
    failure: JSON.parse(failure as string) as Failure,
  }))
}

/**
 * Sets the events aside on which a projection is blocked, and lets it go on behind them.
 *
 * @returns whether it was blocked on an event.
 * @throws InvalidArgumentError if the store does not have the event.
 */
export async function parkBlocked(definition: Definition, core: StoreCore, lease: number): Promise<boolean> {
  const { name, target } = definition
  const { live, building } = await target.read(() => findBuilds(name))
  let isParked = false
  for (const build of [live, building]) {
    const { failure } = build ?? {}
    if (build?.state !== 'blocked' || failure?.event === undefined) continue
    const event = await eventAt(definition, core, { build, ...failure.event })
    const through = checkpointAt(await core.identity(), event)
    try {
      const holder = { owner: build.owner ?? '', lease }
      await target.transaction(() => park(build, { event, through, failure }, holder), lease)
      isParked = true
    } catch (error) {
      // It was unblocked, reset or parked by another call meanwhile.
      if (!(error instanceof LostRace)) throw error
    }
  }
  return isParked
}

/** The event on which a build failed, as it is stored. */
export async function eventAt(
  { selection, kind }: Pick<Followed, 'selection' | 'kind'>,
  core: StoreCore,
  { build, position, id }: { readonly build: Build } & FailedEvent,
): Promise<StoredEvent> {
  const range = { after: build.checkpoint?.position, to: position, limit: undefined }
  const pages = core.readAllForUser({ ...selection.filter, ...range, direction: 'forwards' })
  try {
    for await (const page of pages) {
      const event = page.find((one) => one.id === id)
      if (event) return event
    }
  } catch (error) {
    // Another kind of store does not know such positions.
    if (!(error instanceof InvalidArgumentError)) throw error
  }
  const expected = `the store that the ${kind} is run from, with the event that blocks it`
  throw new InvalidArgumentError('store', expected)
}

/** Deletes a parked event of the live build. Returns whether it was there. */
export function* discardParked(name: string, id: string): TargetSteps<boolean> {
  const { live } = yield* findBuilds(name)
  const position = live && (yield* positionOf(live, id))
  if (!live || position === undefined) return false
  const rows = yield* ask(
    'DELETE FROM PARKED WHERE name = $1 AND generation = $2 AND position = $3 RETURNING position',
    ...[name, live.generation, position],
  )
  return rows.length > 0
}

/** The position of a parked event, by its id. */
function* positionOf({ name, generation }: Build, id: string): TargetSteps<string | undefined> {
  const rows = yield* ask(
    'SELECT position, event FROM PARKED WHERE name = $1 AND generation = $2 ORDER BY position',
    ...[name, generation],
  )
  const row = rows.find(({ event }) => (JSON.parse(event as string) as StoredEvent).id === id)
  return row?.position as string | undefined
}

/** How many events a build has set aside. */
export function* countParked({ name, generation }: Build): TargetSteps<number> {
  const [row] = yield* ask(
    'SELECT count(*) AS parked FROM PARKED WHERE name = $1 AND generation = $2 AND asked < 2',
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
 * @param id of the one event to handle; `undefined`: all of them.
 * @throws ProjectionVersionError if the read model has another version than the handlers.
 */
export async function retryParked(
  definition: Definition,
  idleTimeout: number,
  id?: string,
): Promise<Retried> {
  const { name, version, target } = definition
  const { live } = await target.read(() => findBuilds(name))
  if (!live) return { handled: 0, failed: 0 }
  if (live.version !== version)
    throw new ProjectionVersionError(
      { projection: name, defined: version, built: live.version },
      'retry with the handlers of that version',
    )
  const parked = await target.read(function* () {
    const one = id === undefined ? undefined : yield* positionOf(live, id)
    if (id !== undefined && one === undefined) return []
    const rows = yield* ask(
      'SELECT position, event FROM PARKED WHERE name = $1 AND generation = $2 ORDER BY position',
      ...[name, live.generation],
    )
    return rows
      .filter(({ position }) => one === undefined || position === one)
      .map(({ position, event }) => [position as string, JSON.parse(event as string) as StoredEvent] as const)
  })
  let [handled, failed] = [0, 0]
  for (const [position, event] of parked) {
    try {
      const reveal = await revealingOf(definition, [event])
      const wasThere = await handling(
        definition,
        (tx, _, deadline) => handleParked(definition, live, { position, tx, deadline, reveal }),
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
    reveal,
  }: {
    readonly position: string
    readonly tx: unknown
    readonly deadline: Deadline
    readonly reveal: Revealing
  },
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
    const returned = handlers.get(type)!(selection.decode(stored), tx, contextOf(definition, live, reveal))
    yield* settle(returned, deadline, handlerOf(type))
  } catch (error) {
    throw failedAt(0, error, definition, handlerOf(type))
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
