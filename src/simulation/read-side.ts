import type { ProjectionTarget } from '../adapter/projection-target.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import { isMnemeError } from '../base/errors.ts'
import type { Position } from '../base/revision.ts'
import type { Definition } from '../projections/define.ts'
import { DefinedProjection } from '../projections/projection.ts'
import { runProjections, type RunningProjections } from '../projections/run.ts'
import type { EventStore } from '../store/event-store.ts'
import type { SqliteDatabase } from '../stores/sqlite/driver.ts'
import type { Problem } from './check.ts'
import { SimulatedDatabase } from './database.ts'
import type { Network } from './network.ts'
import { ReadModels } from './read-models.ts'
import type { SimulatedProcess } from './scheduler.ts'

/** The projections of a run. */
export interface PlannedReadModels {
  readonly definitions: readonly Definition[]
  /** Opens an empty database. */
  readonly open: () => SqliteDatabase
}

/** The database of the projections, as a process sees it. */
export type Target = ProjectionTarget<SqliteDatabase>

/** What the read side of a run is made of, and whom it tells. */
export interface ReadSideSettings {
  readonly planned: PlannedReadModels
  readonly network: Network
  readonly log: readonly StoredEvent[]
  /** Changes the target of each process: to plant a fault. */
  readonly plant: ((target: Target) => Target) | undefined
  readonly told: (process: SimulatedProcess, what: string) => void
  readonly found: (problem: Problem) => void
  /** Called after each commit. */
  readonly committed: () => void
}

/** The projections that a process runs. */
export interface Reader {
  readonly process: SimulatedProcess
  readonly store: EventStore
  readonly projections: readonly DefinedProjection[]
  readonly running: RunningProjections
}

/** The read models of a run: they are run by each process, waited for, rebuilt, and compared with the log. */
export class ReadSide {
  readonly #settings: ReadSideSettings
  readonly #file: SqliteDatabase
  readonly #database: SimulatedDatabase
  readonly #models: ReadModels

  constructor(settings: ReadSideSettings) {
    const { planned, network, log, told, found, committed } = settings
    this.#settings = settings
    this.#file = planned.open()
    this.#database = new SimulatedDatabase(this.#file, network, (process) => {
      const problem = this.#models.check((what) => {
        told(process, what)
      })
      if (problem) found(problem)
      committed()
    })
    this.#models = new ReadModels(planned.definitions, { database: this.#database, open: planned.open, log })
  }

  /** Reads what is committed. */
  get database(): Pick<SimulatedDatabase, 'rows'> {
    return this.#database
  }

  /** The first projection, if any, that has not handled all that it handles of so many events. */
  behind(length: number): string | undefined {
    return this.#models.behind(length)
  }

  close(): void {
    this.#models.close()
    this.#file.close()
  }

  /** Runs the projections in one process. */
  async run(process: SimulatedProcess, store: EventStore): Promise<Reader | undefined> {
    const { planned, network, plant, found } = this.#settings
    const connected: Target = this.#database.connect(process)
    const target = (plant?.(connected) ?? connected) as ProjectionTarget<unknown>
    const projections = planned.definitions.map(
      (definition) => new DefinedProjection({ ...definition, target, clock: process }),
    )
    for (;;) {
      try {
        const running = await runProjections(store, projections, { lease: LEASE_MS })
        return { process, store, projections, running }
      } catch (error) {
        // As a program that ends and is started again.
        if (!isOfServer(error)) {
          const message = `the projections of ${process.name} do not start: ${String(error)}`
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
  async waitCaughtUp(
    { process, running, projections }: Reader,
    position: Position | undefined,
  ): Promise<void> {
    const { network, log, found } = this.#settings
    const isOfOne = position !== undefined && network.scheduler.draw.happens(0.5)
    const length = isOfOne ? log.findIndex((event) => event.position === position) + 1 : log.length
    try {
      if (isOfOne) await Promise.all(projections.map((projection) => projection.caughtUpTo(position)))
      else await running.caughtUp()
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

/** The lease of the projections' workers: shorter than the longest pause. */
const LEASE_MS = 1_000
/** Milliseconds after which a process that could not start its projections tries again. */
const RESTART_MS = 50
