import {
  ask,
  type ProjectionTarget,
  type TargetQuery,
  type TargetRow,
  type TargetSteps,
  type TargetValue,
} from '../adapter/projection-target.ts'
import { HandlerHandle } from '../adapter/handler-handle.ts'
import { OutcomeUnknownError, StoreFailedError, StoreFullError } from '../base/errors.ts'
import type { SqliteDatabase, SqliteStatement } from '../stores/sqlite/driver.ts'
import { rowsOf, runAll } from '../stores/sqlite/target-steps.ts'
import { type Network, unavailable } from './network.ts'
import type { SimulatedProcess } from './scheduler.ts'

/** Work in a transaction, as a target is given it. */
type Work<T> = (tx: SqliteDatabase, rows: readonly TargetRow[]) => TargetSteps<T>

/** The database of the read models: SQLite in memory, behind the network. */
export class SimulatedDatabase {
  readonly #database: SqliteDatabase
  readonly #network: Network
  readonly #committed: (process: SimulatedProcess) => void
  readonly #statements = new Map<string, SqliteStatement>()

  /** @param committed called after each commit. */
  constructor(database: SqliteDatabase, network: Network, committed: (process: SimulatedProcess) => void) {
    this.#database = database
    this.#network = network
    this.#committed = committed
  }

  /** The database as a process sees it. */
  connect(process: SimulatedProcess): ProjectionTarget<SqliteDatabase> {
    const network = this.#network
    const handler = new HandlerHandle(this.#database, (error) => {
      throw error
    })
    const call = async <T>(work: () => T): Promise<T> => {
      await network.travel(process)
      network.reach(process)
      const result = work()
      await network.travel(process)
      return result
    }
    return {
      dialect: 'sqlite',
      transaction: (work, _idleTimeout, first) => this.#transaction(process, handler, work, first),
      change: ({ sql, values }) => this.#transaction(process, handler, () => ask(sql, ...values), undefined),
      read: (work) => call(() => runAll(work(), this.#queryBy(process))),
      query: <Row extends object>(sql: string, values: readonly TargetValue[] = []) =>
        call(() => this.rows(sql, values) as unknown as readonly Row[]),
      close: () => Promise.resolve(),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }
  }

  /** Reads what is committed, at once. */
  rows(sql: string, values: readonly TargetValue[] = []): TargetRow[] {
    return this.prepare(sql).all(...values) as TargetRow[]
  }

  prepare(sql: string): SqliteStatement {
    let statement = this.#statements.get(sql)
    if (!statement) this.#statements.set(sql, (statement = this.#database.prepare(sql)))
    return statement
  }

  async #transaction<T>(
    process: SimulatedProcess,
    handler: HandlerHandle<SqliteDatabase>,
    work: Work<T>,
    first: TargetQuery | undefined,
  ): Promise<T> {
    const network = this.#network
    await network.travelToWrite(process)
    network.reach(process)
    if (network.strikes('lostLease', process)) this.#loseLeases()
    const commit = () => this.#commit(process, handler, work, first)
    if (network.strikes('ghost', process)) {
      network.arriveLate(() => {
        try {
          commit()
        } catch {
          // Nobody waits for it any more.
        }
      })
      await network.travel(process)
      throw unavailable()
    }
    const result = commit()
    await network.travel(process)
    if (network.strikes('lostAnswer', process)) {
      throw new OutcomeUnknownError('the connection was lost while a simulated transaction was committed')
    }
    return result
  }

  /** Does work in a transaction, at once: a process that crashes has done all of it, or nothing. */
  #commit<T>(
    process: SimulatedProcess,
    handler: HandlerHandle<SqliteDatabase>,
    work: Work<T>,
    first: TargetQuery | undefined,
  ): T {
    const query = this.#queryBy(process)
    const network = this.#network
    this.prepare('BEGIN').run()
    let result: T
    try {
      handler.open()
      try {
        result = runAll(work(handler.handle, first ? query(first) : []), (asked) => {
          handler.endIterators()
          return query(asked)
        })
      } finally {
        handler.close()
      }
      if (network.strikes('fullDisk', process)) throw new StoreFullError('the simulated disk is full')
      if (network.strikes('undone', process))
        throw new StoreFailedError('the simulated transaction is undone')
      this.prepare('COMMIT').run()
    } catch (error) {
      this.prepare('ROLLBACK').run()
      throw error
    }
    this.#committed(process)
    return result
  }

  /** The time of a SQLite database is that of the computer that asks. */
  #queryBy(process: SimulatedProcess): (asked: TargetQuery) => TargetRow[] {
    return ({ sql, values }) => {
      const time = `$${String(values.length + 1)}`
      return rowsOf(this, { sql: sql.replace(/\bNOW\b/g, time), values: [...values, process.date()] })
    }
  }

  #loseLeases(): void {
    if (this.rows("SELECT 1 FROM sqlite_schema WHERE name = 'mneme_projections'").length === 0) return
    this.prepare('UPDATE mneme_projections SET owner = NULL, lease_until = 0').run()
  }
}
