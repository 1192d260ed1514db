import type { ProjectionTarget } from '../adapter/projection-target.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import { isMnemeError } from '../base/errors.ts'
import type { Position } from '../base/revision.ts'
import type { Definition } from '../projections/define.ts'
import { DefinedProjection } from '../projections/projection.ts'
import { runProjections, type RunningProjections } from '../projections/run.ts'
import type { RelayControl } from '../reactions/control.ts'
import { runReactions } from '../reactions/run.ts'
import type { EventStore } from '../store/event-store.ts'
import type { SqliteDatabase } from '../stores/sqlite/driver.ts'
import type { Problem } from './check.ts'
import { SimulatedDatabase } from './database.ts'
import type { Network } from './network.ts'
import { type PlannedReactions, ReactionSide, type ReactionSideSettings } from './reaction-side.ts'
import { ReadModels } from './read-models.ts'
import type { SimulatedProcess } from './scheduler.ts'
import { blockOf, Standings } from './standings.ts'

/** The projections and reactions of a run. */
export interface PlannedReadSide extends PlannedReactions {
  readonly definitions: readonly Definition[]
  /** Opens an empty database. */
  readonly open: () => SqliteDatabase
}

/** The database of the projections, as a process sees it. */
export type Target = ProjectionTarget<SqliteDatabase>

/** What the read side of a run is made of, and whom it tells. */
export interface ReadSideSettings {
  readonly planned: PlannedReadSide
  readonly network: Network
  readonly log: readonly StoredEvent[]
  /** What is changed in each process, to plant a fault. */
  readonly plant: {
    readonly target?: (target: Target) => Target
    readonly reaction?: ReactionSideSettings['plant']
  }
  readonly told: (process: SimulatedProcess, what: string) => void
  readonly found: (problem: Problem) => void
  /** Called after each commit. */
  readonly committed: () => void
}

/** The projections and reactions that a process runs. */
export interface Reader {
  readonly process: SimulatedProcess
  readonly store: EventStore
  readonly projections: readonly DefinedProjection[]
  /** All of them, as somebody waits for one. */
  readonly followers: readonly Pick<RelayControl, 'caughtUpTo'>[]
  readonly running: readonly Pick<RunningProjections, 'caughtUp'>[]
}

/** The read side of a run: it is run by each process, waited for, rebuilt, and compared with the log. */
export class ReadSide {
  readonly #settings: ReadSideSettings
  readonly #file: SqliteDatabase
  readonly #database: SimulatedDatabase
  readonly #standings: Standings
  readonly #models: ReadModels
  readonly reactions: ReactionSide

  constructor(settings: ReadSideSettings) {
    const { planned, network, log, plant, told, found, committed } = settings
    this.#settings = settings
    this.#file = planned.open()
    this.#database = new SimulatedDatabase(this.#file, network, (process) => {
      const standings = this.#standings.read()
      const problem =
        this.#models.check(standings, (what) => {
          told(process, what)
        }) ?? standings.map(blockOf).find((block) => block !== undefined)
      if (problem) found(problem)
      committed()
    })
    const database = this.#database
    const standings = (this.#standings = new Standings(database, log))
    const shared = { planned, network, log, database, standings }
    this.reactions = new ReactionSide({ ...shared, plant: plant.reaction })
    this.#models = new ReadModels(planned.definitions, { database, standings, open: planned.open, log })
  }

  /** Reads what is committed. */
  get database(): Pick<SimulatedDatabase, 'rows'> {
    return this.#database
  }

  /** Whether the tables of all projections are there. */
  get isSetUp(): boolean {
    return this.#models.areSetUp
  }

  /** The first projection or reaction, if any, that has not handled all that it handles of so many events. */
  behind(length: number): string | undefined {
    const { definitions, specs } = this.#settings.planned
    return this.#standings.behind([...definitions, ...specs], length)
  }

  close(): void {
    this.#models.close()
    this.#file.close()
  }

  /** Runs the projections and reactions in one process. */
  async run(process: SimulatedProcess, store: EventStore): Promise<Reader | undefined> {
    const { planned, plant } = this.#settings
    const connected: Target = this.#database.connect(process)
    const target = (plant.target?.(connected) ?? connected) as ProjectionTarget<unknown>
    const projections = planned.definitions.map(
      (definition) => new DefinedProjection({ ...definition, target, clock: process }),
    )
    const reactions = this.reactions.of(process)
    const options = { ...this.reactions.options(), state: target, lease: LEASE_MS }
    const started = [
      projections.length > 0 &&
        this.#start(process, () => runProjections(store, projections, { lease: LEASE_MS })),
      reactions.length > 0 && this.#start(process, () => runReactions(store, reactions, options)),
    ]
    const running = await Promise.all(started.filter((each) => each !== false))
    if (running.includes(undefined)) return undefined
    const followers = [...projections, ...reactions.map((each) => each.in(target))]
    return { process, store, projections, followers, running: running.filter((each) => each !== undefined) }
  }

  /** Starts something as a program does that ends if it does not succeed, and is started again. */
  async #start<T>(process: SimulatedProcess, start: () => Promise<T>): Promise<T | undefined> {
    const { network, found } = this.#settings
    for (;;) {
      try {
        return await start()
      } catch (error) {
        if (!isOfServer(error)) {
          const message = `what ${process.name} runs beside its commands does not start: ${String(error)}`
          found({ kind: 'blocked', message })
          return undefined
        }
      }
      await new Promise<void>((resolve) => {
        network.scheduler.after(process, RESTART_MS, resolve)
      })
    }
  }

  /** Rebuilds a projection, if somebody does so now. */
  async rebuild({ process, store, projections }: Reader): Promise<void> {
    const { network, told, found } = this.#settings
    const named = projections.filter(({ definition }) => definition.tables.length > 0)
    if (named.length === 0 || !network.strikes('rebuild', process)) return
    const projection = network.scheduler.draw.pick(named)
    try {
      await projection.rebuild(store)
      told(process, `has rebuilt ${projection.name}`)
    } catch (error) {
      // It is given up, as by somebody who looks again later.
      if (isOfServer(error)) return
      const message = `the rebuild of '${projection.name}' in ${process.name} failed: ${String(error)}`
      found({ kind: 'rebuild', message })
    }
  }

  /** A caller who was told of a position finds it in the read models, once they have caught up. */
  async waitCaughtUp({ process, running, followers }: Reader, position: Position | undefined): Promise<void> {
    const { network, log, found } = this.#settings
    const isOfOne = position !== undefined && network.scheduler.draw.happens(0.5)
    const length = isOfOne ? log.findIndex((event) => event.position === position) + 1 : log.length
    try {
      if (isOfOne) await Promise.all(followers.map((each) => each.caughtUpTo(position)))
      else await Promise.all(running.map((each) => each.caughtUp()))
    } catch {
      return // it takes longer, or is blocked, which is reported where it is found
    }
    const behind = this.behind(length)
    if (behind === undefined) return
    const lacking = `it lacks one of ${String(length)} events`
    found({
      kind: 'caught up',
      message: `${process.name} was told that ${behind} has caught up, but ${lacking}`,
    })
  }
}

function isOfServer(error: unknown): boolean {
  return isMnemeError(error) && (error.isRetryable || error.code === 'OUTCOME_UNKNOWN')
}

/** The lease of the workers: shorter than the longest pause. */
const LEASE_MS = 1_000
/** Milliseconds after which a process that could not start them tries again. */
const RESTART_MS = 50
