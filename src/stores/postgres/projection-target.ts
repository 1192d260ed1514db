import { nextTurn } from '../../base/clock.ts'
import { environment } from '../../base/environment.ts'
import { checkBoolean, checkOptions, checkTimer, MAX_TIMER_MS } from '../../base/arguments.ts'
import { isMnemeError, StoreTimeoutError, StoreUnavailableError } from '../../base/errors.ts'
import { FirstUse } from '../../base/first-use.ts'
import {
  causesOf,
  HandlerTimeoutError,
  type ProjectionTarget,
  type TargetQuery,
  type TargetRow,
  type TargetSteps,
  type TargetValue,
} from '../../adapter/projection-target.ts'
import { HandlerHandle } from '../../adapter/handler-handle.ts'
import { Connections, type Session } from './connection.ts'
import type { PostgresConfig, PostgresPool } from './driver.ts'
import { asMnemeError, asQueryError, causeOf, faultOf } from './errors.ts'
import { poolOf } from './options.ts'
import { literal, quoteSchema } from './schema.ts'

/** Options of `postgresTarget`. */
export interface PostgresTargetOptions {
  /** The schema of Mneme's own tables; created if it does not exist. Default: `mneme`. */
  readonly schema?: string | undefined
  /** Whether Mneme's tables may be made, and brought up to date; if not, `OpenError` says so. Default: `true`. */
  readonly migrate?: boolean | undefined
  /** How long to wait for a connection before a transaction fails, to be retried. Default: 10,000 ms. */
  readonly connectTimeout?: number | undefined
  /**
   * How long to wait for the answer to one of Mneme's own queries before its connection is given up and the work is
   * retried. Default: 30,000 ms.
   */
  readonly statementTimeout?: number | undefined
}

/** The connection that handlers are given, as `pg` has it, in a transaction that they must not end. */
export interface PostgresTransaction {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: Record<string, unknown>[] }>
}

/**
 * Keeps read models in a PostgreSQL database: that of the store, or another one. It connects at the first use.
 *
 * Handlers are given the connection of the driver `pg`, in a transaction (READ COMMITTED) that they must not end; they may
 * hand it to Kysely or Drizzle. Once the transaction has ended, it refuses every call. The server ends a transaction that is idle for as long as the projections' lease. It works
 * behind a transaction pooler.
 *
 * @typeParam Client the type of the connection in handlers: `PoolClient`, of the types of `pg`.
 * @param connection a URL, the options of a `pg.Pool`, or a `pg.Pool`, which `close` then leaves open.
 * @throws InvalidArgumentError if an argument is wrong.
 * @example
 * ```ts
 * const readModels = postgresTarget('postgres://bank@localhost/bank')
 * ```
 */
export function postgresTarget<Client extends object = PostgresTransaction>(
  connection: string | PostgresConfig | PostgresPool,
  options: PostgresTargetOptions = {},
): ProjectionTarget<Client> {
  const {
    schema = 'mneme',
    connectTimeout = 10_000,
    statementTimeout = 30_000,
    migrate = true,
  } = checkOptions(options, 'options', OPTIONS)
  checkTimer(connectTimeout, 'options.connectTimeout', 1)
  checkTimer(statementTimeout, 'options.statementTimeout', 1)
  checkBoolean(migrate, 'options.migrate')
  const timeouts = { connectTimeout, statementTimeout }
  return new PostgresTarget<Client>(connection, quoteSchema(schema), { timeouts, migrate })
}

const OPTIONS = ['schema', 'migrate', 'connectTimeout', 'statementTimeout'] as const

class PostgresTarget<Client extends object> implements ProjectionTarget<Client> {
  readonly dialect = 'postgres'
  readonly #connection: string | PostgresConfig | PostgresPool
  readonly #timeouts: Timeouts
  readonly migrate: boolean
  readonly #words: Readonly<Record<string, string>>
  readonly #opened = new FirstUse(() => this.#connect())

  constructor(
    connection: string | PostgresConfig | PostgresPool,
    schema: string,
    { timeouts, migrate }: { readonly timeouts: Timeouts; readonly migrate: boolean },
  ) {
    this.#connection = connection
    this.#timeouts = timeouts
    this.migrate = migrate
    this.#words = {
      NOW: '(extract(epoch FROM clock_timestamp()) * 1000)::bigint',
      STANDS: `(current_setting('mneme.batch', true) = 'stands')`,
      PINNED: 'FOR KEY SHARE',
      CLAIMED: 'FOR UPDATE',
      HOME: schema,
      PROJECTIONS: `${schema}.projections`,
      PARKED: `${schema}.parked`,
      TIMERS: `${schema}.timers`,
      VERSIONS: `${schema}.projection_versions`,
    }
  }

  async transaction<T>(
    work: (tx: Client, rows: readonly TargetRow[]) => TargetSteps<T>,
    idleTimeout: number,
    first?: TargetQuery,
  ): Promise<T> {
    return this.#use(async (session, query) => {
      // Local settings end with the transaction, also if a handler ends it: so `STANDS` tells.
      const begin =
        `BEGIN ISOLATION LEVEL READ COMMITTED; SELECT set_config('mneme.batch', 'stands', true), ` +
        `set_config('idle_in_transaction_session_timeout', '${String(idleTimeout)}', true)`
      const all = first ? `${begin}; ${this.#textOf(first.sql, first.values)}` : begin
      // Mneme's own type of a client is narrower: handlers see all of the driver's.
      const handler = new HandlerHandle(session.client as unknown as Client, rejected)
      try {
        const begun = await query(all).catch((error: unknown) => {
          throw asMnemeError(error)
        })
        const rows = first ? (begun as unknown as { readonly rows: TargetRow[] }[]).at(-1)!.rows : []
        handler.open()
        const value = await this.#runAll(work(handler.handle, rows), query, session)
        handler.close()
        // If a handler has swallowed an error of the server, COMMIT answers ROLLBACK.
        const { command } = await query('COMMIT')
        if (command !== 'COMMIT') throw swallowedError()
        return value
      } catch (error) {
        handler.close()
        if (!session.broken)
          await query('ROLLBACK').catch((lost: unknown) => (session.broken ??= asError(lost)))
        throw error
      }
    })
  }

  change(query: TargetQuery): Promise<readonly TargetRow[]> {
    return this.#use((_, ask) => this.#rowsOf(ask, query))
  }

  async query<Row extends object = TargetRow>(
    sql: string,
    values: readonly TargetValue[] = [],
  ): Promise<readonly Row[]> {
    // The user's own query may take as long as it likes.
    const { rows } = await this.#use((_, __, query) =>
      query(sql, [...values]).catch((error: unknown) => {
        throw asQueryError(error)
      }),
    )
    return rows as readonly object[] as readonly Row[]
  }

  async read<T>(work: () => TargetSteps<T>): Promise<T> {
    return this.#use((session, query) => this.#runAll(work(), query, session))
  }

  async close(): Promise<void> {
    await (await this.#opened.end())?.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** @param work is given Mneme's own way to query, with a time-out, and the driver's. */
  async #use<T>(work: (session: Session, query: Ask, unlimited: Ask) => Promise<T>): Promise<T> {
    const { connections } = await this.#opened.get()
    try {
      return await connections.use(async (session) => {
        // The driver's own `query`, which handlers use, too: both share one queue.
        const client = session.client as unknown as { readonly query: Ask }
        const unlimited: Ask = (text, values) => client.query(text, values)
        const query: Ask = (text, values) => this.#within(session, unlimited(text, values))
        try {
          return await work(session, query, unlimited)
        } catch (error) {
          // The server may have ended the idle transaction of the same handler just before.
          const isTimeout = [...causesOf(error)].some((cause) => cause instanceof HandlerTimeoutError)
          if (isTimeout || isMnemeError(session.broken)) throw error
          // The driver reports the lost connection just after the query that failed with it.
          await nextTurn()
          if (!session.broken) throw error
          const message = 'the connection to PostgreSQL was lost in the middle of a transaction'
          throw new StoreUnavailableError(message, { cause: causeOf(session.broken) })
        }
      })
    } catch (error) {
      throw ofDatabase(error) ?? error
    }
  }

  async #connect(): Promise<Opened> {
    const { connectTimeout } = this.#timeouts
    const { pool, end } = await poolOf(this.#connection, connectTimeout, OPTIONS)
    const connections = new Connections(pool, {
      connectTimeout,
      statementTimeout: MAX_TIMER_MS,
      prepare: false,
    })
    const close = async () => {
      connections.close()
      await end()
    }
    return { connections, close }
  }

  /** Gives a connection up that does not answer: it may be half-open. */
  async #within<T>(session: Session, answer: Promise<T>): Promise<T> {
    const { statementTimeout } = this.#timeouts
    let cancel: (() => void) | undefined
    const late = new Promise<never>((_, reject) => {
      cancel = environment.after(statementTimeout, () => {
        const message = `PostgreSQL did not answer within ${String(statementTimeout)} ms`
        session.broken ??= new StoreTimeoutError(message)
        reject(session.broken)
      })
    })
    try {
      return await Promise.race([answer, late])
    } finally {
      cancel?.()
    }
  }

  /** Runs steps to their end, one after the other. */
  async #runAll<T>(steps: TargetSteps<T>, query: Ask, session: Session): Promise<T> {
    let step = steps.next()
    while (!step.done) {
      const { value } = step
      if ('sql' in value) step = steps.next(await this.#rowsOf(query, value))
      else {
        const failure = await failureOf(value.returned)
        // The handler may still run: what it writes later must not find an open connection.
        if (failure?.error instanceof HandlerTimeoutError) session.broken ??= failure.error
        step = failure ? steps.throw(failure.error) : steps.next([])
      }
    }
    return step.value
  }

  /** A query in PostgreSQL's SQL; with its values written in, if it is sent together with others. */
  #textOf(sql: string, values?: readonly TargetValue[]): string {
    return sql.replace(WORDS, (parameter, quote: string | undefined, word: string | undefined) => {
      if (word === undefined) return values ? constant(values[Number(parameter.slice(1)) - 1]!) : parameter
      const name = this.#words[word]!
      // As a literal, the schema's name has no quotes of its own.
      if (quote !== '') return literal(word === 'HOME' ? name.slice(1, -1).replaceAll('""', '"') : name)
      return name
    })
  }

  async #rowsOf(query: Ask, { sql, values }: TargetQuery): Promise<readonly TargetRow[]> {
    try {
      const { rows } = await query(this.#textOf(sql), values.length > 0 ? [...values] : undefined)
      return rows
    } catch (error) {
      throw isAborted(error) ? swallowedError() : asMnemeError(error)
    }
  }
}

interface Timeouts {
  readonly connectTimeout: number
  readonly statementTimeout: number
}

interface Opened {
  readonly connections: Connections
  readonly close: () => Promise<void>
}

type Ask = (
  text: string,
  values?: unknown[],
) => Promise<{ readonly rows: TargetRow[]; readonly command?: string }>

/** The error that a promise is rejected with, if it is. */
async function failureOf(returned: unknown): Promise<{ readonly error: unknown } | undefined> {
  try {
    await returned
    return undefined
  } catch (error) {
    return { error }
  }
}

/** A failure of the database rather than of a handler, also if a handler has wrapped it. */
function ofDatabase(error: unknown): Error | undefined {
  if (isMnemeError(error)) return error
  for (const at of causesOf(error)) {
    const { severity } = at as { readonly severity?: unknown }
    if (typeof severity === 'string' && DATABASE_FAULTS.has(faultOf(at))) return asMnemeError(at)
  }
  return undefined
}

const DATABASE_FAULTS: ReadonlySet<ReturnType<typeof faultOf>> = new Set([
  ...(['disconnected', 'locked', 'transient', 'unprepared', 'read-only', 'full'] as const),
])

/** Whether an earlier query has aborted the transaction (25P02). */
function isAborted(error: unknown): boolean {
  return (error as { readonly code?: unknown } | null)?.code === '25P02'
}

function swallowedError(): Error {
  return new Error(
    'an earlier query had aborted the transaction, and a handler ignored its error: let the handler throw it',
  )
}

function rejected(error: Error): Promise<never> {
  return Promise.reject(error)
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error('the connection failed')
}

/** A value as a SQL literal. */
function constant(value: TargetValue): string {
  if (value === null) return 'NULL'
  return typeof value === 'number' ? String(value) : literal(value)
}

const WORDS = /\$\d+|('?)\b(NOW|STANDS|PINNED|CLAIMED|HOME|PROJECTIONS|PARKED|TIMERS|VERSIONS)\b\1/g
