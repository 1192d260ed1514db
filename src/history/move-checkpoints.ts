import { checkList, checkOptions } from '../base/arguments.ts'
import { historyRewound, InvalidArgumentError, quote, UnsupportedError } from '../base/errors.ts'
import type { Position } from '../base/revision.ts'
import { ask, type ProjectionTarget, type TargetRow, type TargetSteps } from '../adapter/projection-target.ts'
import type { LogPlace, StoredEvent } from '../adapter/store-adapter.ts'
import { checkText } from '../model/names.ts'
import { type Build, type Failure, findBuilds, type FollowerKind } from '../projections/builds.ts'
import { prepareTarget, versionOf } from '../projections/schema.ts'
import { coreOf } from '../store/create-store.ts'
import type { Checkpoint, EventStore } from '../store/event-store.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import { CopySource } from './copy-source.ts'
import { applyTransform, checkTransform, type CopyTransform } from './transform.ts'

/** Options of `moveCheckpoints`. */
export interface MoveCheckpointsOptions {
  /** Only these projections, reactions and relays. Default: all in the database. */
  readonly names?: readonly string[] | undefined
  /** The transform with which the history was copied. */
  readonly transform?: CopyTransform | undefined
}

/** What became of the checkpoint of a projection, a reaction or a relay. */
export interface MovedCheckpoint {
  readonly name: string
  readonly kind: FollowerKind
  readonly version: number
  /**
   * `'moved'`; `'moved-before'`: it was of the new store already; `'not-begun'`: it had handled nothing yet; `'other-store'`: it is
   * of neither of the two stores, and stays.
   */
  readonly outcome: 'moved' | 'moved-before' | 'not-begun' | 'other-store'
  /** Where it stands now; `undefined`: at the start. */
  readonly position: Position | undefined
}

/**
 * Moves the checkpoints of projections, reactions and relays to the store that their history was copied to, so that they go on
 * there behind the event that they handled last: no event counts twice, none is left out. Events that were set aside and rebuilds
 * move along. Stop their workers first.
 *
 * All of a projection's checkpoint is moved in one transaction. It can be called again: what was moved stays.
 *
 * @throws InvalidArgumentError if a worker holds the lease of one of them: stop it, or wait until its lease has ended; or if its event
 *   was not copied yet.
 * @throws HistoryRewoundError if a checkpoint is not of this history.
 * @example
 * ```ts
 * import { openStore } from 'mneme'
 * import { moveCheckpoints } from 'mneme/history'
 * import { sqliteTarget } from 'mneme/sqlite'
 *
 * const [from, to] = [await openStore('sqlite:bank.db'), await openStore('postgres://localhost/bank')]
 * for (const { name, outcome } of await moveCheckpoints(sqliteTarget('read-models.db'), from, to)) console.log(name, outcome)
 * ```
 */
export async function moveCheckpoints(
  target: ProjectionTarget<unknown>,
  from: EventStore,
  to: EventStore,
  options: MoveCheckpointsOptions = {},
): Promise<readonly MovedCheckpoint[]> {
  if (typeof (target as Partial<typeof target> | undefined)?.read !== 'function') {
    throw new InvalidArgumentError('target', 'a target, like sqliteTarget(...) or postgresTarget(...)')
  }
  const [source, copy] = [coreOf(from), coreOf(to)]
  checkOptions(options, 'options', ['names', 'transform'])
  const transform = checkTransform(options.transform)
  const names = checkList(options.names, 'names', (name, argument) => {
    checkText(name, argument, 'the name of a projection')
    return name
  })
  if ((await target.read(() => versionOf(target))) === 0) return []
  await prepareTarget(target)
  const mover = new Mover(target, source, copy, transform)
  const stores = [await from.identity(), await to.identity()] as const
  const moved: MovedCheckpoint[] = []
  const listed = await target.read(() => listNames())
  const unknown = names?.find((name) => !listed.includes(name))
  if (unknown !== undefined) {
    const message = `there is no projection, reaction or relay ${quote(unknown)} in this database`
    throw new InvalidArgumentError('names', { message })
  }
  for (const name of names ?? listed) {
    const { live, building } = await target.read(() => findBuilds(name))
    for (const build of [live, building]) if (build) moved.push(await mover.move(build, stores))
  }
  return moved
}

function* listNames(): TargetSteps<string[]> {
  const rows = yield* ask("SELECT DISTINCT name FROM PROJECTIONS WHERE role <> 'retired' ORDER BY name")
  return rows.map(({ name }) => name as string)
}

class Mover {
  readonly #target: ProjectionTarget<unknown>
  readonly #from: StoreCore
  readonly #source: CopySource
  readonly #copy: CopySource
  readonly #transform: CopyTransform | undefined

  constructor(
    target: ProjectionTarget<unknown>,
    from: StoreCore,
    to: StoreCore,
    transform: CopyTransform | undefined,
  ) {
    this.#target = target
    this.#from = from
    this.#source = new CopySource(from)
    this.#copy = new CopySource(to)
    this.#transform = transform
  }

  /** @param stores the identities of the two stores. */
  async move(build: Build, [from, to]: readonly [string, string]): Promise<MovedCheckpoint> {
    const { name, kind, version, checkpoint } = build
    const what = { name, kind, version }
    if (!checkpoint) return { ...what, outcome: 'not-begun', position: undefined }
    const { store, position } = checkpoint
    if (store === to) return { ...what, outcome: 'moved-before', position }
    if (store !== from) return { ...what, outcome: 'other-store', position }
    if (build.owner !== undefined && build.leaseLeft > 0) {
      throw new InvalidArgumentError('target', {
        message: `a worker runs ${kind} ${quote(name)}: stop it before its checkpoint is moved`,
      })
    }
    if ((await this.#from.idAt(position)) !== checkpoint.id) throw historyRewound(position)
    const place = await this.#placeUpTo(position)
    const failure = build.failure && (await this.#failure(build.failure, name))
    const parked = await this.#parked(build)
    if (this.#transform) await this.#refuseTimers(build)
    const isMoved = await this.#target.transaction(
      () => moveBuild(build, place && { store: to, ...place }, failure, parked),
      IDLE_TIMEOUT_MS,
    )
    if (!isMoved) {
      const message = `${kind} ${quote(name)} went on while its checkpoint was moved: stop its workers`
      throw new InvalidArgumentError('target', { message })
    }
    return { ...what, outcome: 'moved', position: place?.position }
  }

  /** The place in the copy of the last event up to a position of the source that is there. */
  async #placeUpTo(position: Position): Promise<LogPlace | undefined> {
    for await (const event of this.#backwardsFrom(position)) {
      const place = await this.#placeOf(event)
      if (place) return { position: place.position, id: place.id }
    }
    return undefined
  }

  /** The events of the source up to a position, the latest first. */
  async *#backwardsFrom(position: Position): AsyncGenerator<StoredEvent, undefined> {
    const all = { streams: undefined, categories: undefined, types: undefined }
    const before = this.#from.readAllForUser({
      ...{ ...all, direction: 'backwards', after: position, to: undefined, limit: undefined },
    })
    try {
      const first = await before.next()
      const earlier = first.done === true ? [] : first.value
      const request = {
        ...all,
        direction: 'forwards',
        after: earlier[0]?.position,
        to: position,
        limit: 1,
      } as const
      for await (const page of this.#from.readAllForUser(request)) yield* page
      yield* earlier
      for await (const page of before) yield* page
    } finally {
      await before.return?.()
    }
    return undefined
  }

  /** What an event became in the copy; nothing, if it was erased, or left out. @throws InvalidArgumentError if it is not there yet */
  async #placeOf(event: StoredEvent): Promise<StoredEvent | undefined> {
    const { stream, revision, id } = event
    if (!this.#transform) {
      const copied = await this.#copy.eventAt(stream, revision)
      if (copied?.id === id) return copied
      if (await this.#copy.isErased(stream, revision + 1)) return undefined
      throw notCopied(stream, revision)
    }
    const made = applyTransform(this.#transform, { ...event, keys: [], bytes: 0 }).events.at(-1)
    if (!made) return undefined
    const found = await this.#copy.find(made.stream, made.id)
    if (found) return found
    throw notCopied(stream, revision)
  }

  async #failure(failure: Failure, name: string): Promise<Failure> {
    const { event } = failure
    if (!event) return failure
    const copied = await this.#eventNamed(event, name)
    const { position, id, type, stream, revision } = copied
    return { ...failure, event: { position, id, type, stream, revision } }
  }

  async #parked(build: Build): Promise<ParkedRow[]> {
    const rows = await this.#target.read(() =>
      ask(
        'SELECT position, event, failure, sequence, plan, asked FROM PARKED WHERE name = $1 AND generation = $2',
        ...[build.name, build.generation],
      ),
    )
    const moved: ParkedRow[] = []
    for (const row of rows) {
      const copied = await this.#eventNamed(JSON.parse(row.event as string) as StoredEvent, build.name)
      const failure = await this.#failure(JSON.parse(row.failure as string) as Failure, build.name)
      moved.push({
        row,
        position: copied.position,
        event: JSON.stringify(copied),
        failure: JSON.stringify(failure),
      })
    }
    return moved
  }

  /** What an event that was set aside, or on which it is blocked, became in the copy. */
  async #eventNamed(event: Pick<StoredEvent, 'stream' | 'revision'>, name: string): Promise<StoredEvent> {
    const { stream, revision } = event
    const stored = await this.#source.eventAt(stream, revision)
    const copied = stored && (await this.#placeOf(stored))
    if (copied) return copied
    throw new InvalidArgumentError('target', {
      message: `${quote(name)} has set aside revision ${String(revision)} of stream ${quote(stream)}, which is not in the copy: retry it, or discard it, first`,
    })
  }

  /** @throws UnsupportedError */
  async #refuseTimers({ name }: Build): Promise<void> {
    const [timer] = await this.#target.read(() =>
      ask('SELECT timer FROM TIMERS WHERE name = $1 LIMIT 1', name),
    )
    if (!timer) return
    throw new UnsupportedError(
      `${quote(name)} has timers, whose events a transform may have changed: let them fire or cancel them, then move its checkpoint`,
    )
  }
}

interface ParkedRow {
  readonly row: TargetRow
  readonly position: Position
  readonly event: string
  readonly failure: string
}

/** Moves a build, if it is still where it was read. */
function* moveBuild(
  { name, generation, checkpoint }: Build,
  to: Checkpoint | undefined,
  failure: Failure | undefined,
  parked: readonly ParkedRow[],
): TargetSteps<boolean> {
  const rows = yield* ask(
    `UPDATE PROJECTIONS SET store = $1, position = $2, event_id = $3, failure = $4
      WHERE name = $5 AND generation = $6 AND position IS NOT DISTINCT FROM $7 AND event_id IS NOT DISTINCT FROM $8
        AND (owner IS NULL OR lease_until <= NOW) RETURNING name`,
    ...[to?.store ?? null, to?.position ?? null, to?.id ?? null, failure ? JSON.stringify(failure) : null],
    ...[name, generation, checkpoint!.position, checkpoint!.id],
  )
  if (rows.length === 0) return false
  // Not one by one: the new position of one may be the old one of another.
  yield* ask('DELETE FROM PARKED WHERE name = $1 AND generation = $2', name, generation)
  for (const { row, position, event, failure } of parked) {
    yield* ask(
      `INSERT INTO PARKED (name, generation, position, event, failure, sequence, plan, asked)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
      ...[name, generation, position, event, failure],
      ...[row.sequence as string | null, row.plan as string | null, Number(row.asked)],
    )
  }
  return true
}

function notCopied(stream: string, revision: number): InvalidArgumentError {
  return new InvalidArgumentError('to', {
    message: `revision ${String(revision)} of stream ${quote(stream)} is not in this store: copy the history first, with the same transform`,
  })
}

const IDLE_TIMEOUT_MS = 60_000
