import { checkOptions } from '../../base/arguments.ts'
import { isMnemeError, StoreClosedError, StoreUnavailableError } from '../../base/errors.ts'
import {
  causesOf,
  type ProjectionTarget,
  type TargetQuery,
  type TargetRow,
  type TargetSteps,
  type TargetValue,
} from '../../adapter/projection-target.ts'
import { Connections, type Session } from './connection.ts'
import type { PostgresConfig, PostgresPool } from './driver.ts'
import { asMnemeError, causeOf, faultOf } from './errors.ts'
import { checkTimeout, MAX_TIMER_MS, poolOf } from './options.ts'
import { literal, quoteSchema } from './schema.ts'

/** Options of `postgresTarget`. */
export interface PostgresTargetOptions {
  /** The schema that holds what Mneme keeps of projections; made where there is none. `mneme`. */
  readonly schema?: string | undefined
  /** Milliseconds to wait for a connection before a transaction fails; projections try again. 10,000. */
  readonly connectTimeout?: number | undefined
}

/** What handlers are given: the connection, as `pg` has it, with a transaction open that they must not end. */
export interface PostgresTransaction {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: Record<string, unknown>[] }>
}

/**
 * Keeps read models in a PostgreSQL database: that of the store, or another one. It is connected to when it is first
 * used.
 *
 * Handlers are given the connection of the driver `pg`, in a transaction (READ COMMITTED) that they must not end; with
 * Kysely or Drizzle it is written by them. A transaction in which nothing is done for as long as the projections' lease
 * is ended by the server. It works behind a transaction pooler.
 *
 * @typeParam Client what handlers see the connection as: `PoolClient`, by the types of `pg`.
 * @param connection a URL, the options of a `pg.Pool`, or a `pg.Pool`, which is then left open by `close`.
 * @throws InvalidArgumentError where an argument is wrong.
 * @example
 * ```ts
 * const readModels = postgresTarget('postgres://bank@localhost/bank')
 * ```
 */
export function postgresTarget<Client extends object = PostgresTransaction>(
  connection: string | PostgresConfig | PostgresPool,
  options: PostgresTargetOptions = {},
): ProjectionTarget<Client> {
  const { schema = 'mneme', connectTimeout = 10_000 } = checkOptions(options, 'options', OPTIONS)
  checkTimeout(connectTimeout, 'connectTimeout')
  return new PostgresTarget<Client>(connection, quoteSchema(schema), connectTimeout)
}

const OPTIONS = ['schema', 'connectTimeout'] as const

class PostgresTarget<Client extends object> implements ProjectionTarget<Client> {
  readonly dialect = 'postgres'
  readonly #connection: string | PostgresConfig | PostgresPool
  readonly #connectTimeout: number
  readonly #words: Readonly<Record<string, string>>
  #opened: Promise<Opened> | undefined
  #isClosed = false

  constructor(connection: string | PostgresConfig | PostgresPool, schema: string, connectTimeout: number) {
    this.#connection = connection
    this.#connectTimeout = connectTimeout
    this.#words = {
      NOW: '(extract(epoch FROM clock_timestamp()) * 1000)::bigint',
      STANDS: `(current_setting('mneme.batch', true) = 'stands')`,
      PINNED: 'FOR KEY SHARE',
      CLAIMED: 'FOR UPDATE',
      HOME: schema,
      PROJECTIONS: `${schema}.projections`,
      PARKED: `${schema}.parked`,
      VERSIONS: `${schema}.projection_versions`,
    }
  }

  async transaction<T>(
    work: (tx: Client, rows: readonly TargetRow[]) => TargetSteps<T>,
    patience: number,
    first?: TargetQuery,
  ): Promise<T> {
    return this.#use(async (session, query) => {
      // What is set is gone with the transaction: also if something has ended it before its time.
      const begin =
        `BEGIN ISOLATION LEVEL READ COMMITTED; SELECT set_config('mneme.batch', 'stands', true), ` +
        `set_config('idle_in_transaction_session_timeout', '${String(patience)}', true)`
      const all = first ? `${begin}; ${this.#textOf(first.sql, first.values)}` : begin
      try {
        const begun = await query(all).catch((error: unknown) => {
          throw asMnemeError(error)
        })
        const rows = first ? (begun as unknown as { readonly rows: TargetRow[] }[]).at(-1)!.rows : []
        // The driver's connection has more than what is needed of it elsewhere: handlers see all of it.
        const value = await this.#runAll(work(session.client as unknown as Client, rows), query)
        // Where a handler has swallowed an error of the server, nothing is left to be committed.
        const { command } = await query('COMMIT')
        if (command !== 'COMMIT') throw passedOver()
        return value
      } catch (error) {
        if (!session.broken)
          await query('ROLLBACK').catch((lost: unknown) => (session.broken ??= asError(lost)))
        throw error
      }
    })
  }

  async query(sql: string, values: readonly TargetValue[] = []): Promise<readonly TargetRow[]> {
    const { rows } = await this.#use((_, query) => query(sql, [...values]))
    return rows
  }

  async read<T>(work: () => TargetSteps<T>): Promise<T> {
    return this.#use((_, query) => this.#runAll(work(), query))
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const opened = this.#opened
    this.#opened = undefined
    await (await opened)?.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #use<T>(work: (session: Session, query: Ask) => Promise<T>): Promise<T> {
    const { connections } = await this.#open()
    try {
      return await connections.use(async (session) => {
        // By the driver's own way, of which handlers make use, too.
        const client = session.client as unknown as { readonly query: Ask }
        try {
          return await work(session, (text, values) => client.query(text, values))
        } catch (error) {
          // The driver tells of a connection that was lost a moment later than of what came of it.
          await new Promise((resolve) => setImmediate(resolve))
          if (!session.broken) throw error
          const message = 'the connection to PostgreSQL was lost in the middle of a transaction'
          throw new StoreUnavailableError(message, { cause: causeOf(session.broken) })
        }
      })
    } catch (error) {
      throw ofDatabase(error) ?? error
    }
  }

  #open(): Promise<Opened> {
    if (this.#isClosed) throw new StoreClosedError()
    this.#opened ??= this.#connect().catch((error: unknown) => {
      // The next attempt connects anew.
      this.#opened = undefined
      throw error
    })
    return this.#opened
  }

  async #connect(): Promise<Opened> {
    const connectTimeout = this.#connectTimeout
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

  /** Runs steps to their end, one after the other. */
  async #runAll<T>(steps: TargetSteps<T>, query: Ask): Promise<T> {
    let step = steps.next()
    while (!step.done) {
      const { value } = step
      if ('sql' in value) step = steps.next(await this.#rowsOf(query, value))
      else {
        const failure = await failureOf(value.returned)
        step = failure ? steps.throw(failure.error) : steps.next([])
      }
    }
    return step.value
  }

  /** A query in PostgreSQL's words; with its values put in, where it is to go with others. */
  #textOf(sql: string, values?: readonly TargetValue[]): string {
    return sql.replace(WORDS, (parameter, quote: string | undefined, word: string | undefined) => {
      if (word === undefined) return values ? constant(values[Number(parameter.slice(1)) - 1]!) : parameter
      const name = this.#words[word]!
      // A schema is named there as it is, and not as it is written.
      if (quote !== '') return literal(word === 'HOME' ? name.slice(1, -1).replaceAll('""', '"') : name)
      return name
    })
  }

  async #rowsOf(query: Ask, { sql, values }: TargetQuery): Promise<readonly TargetRow[]> {
    try {
      const { rows } = await query(this.#textOf(sql), values.length > 0 ? [...values] : undefined)
      return rows
    } catch (error) {
      throw isAborted(error) ? passedOver() : asMnemeError(error)
    }
  }
}

interface Opened {
  readonly connections: Connections
  readonly close: () => Promise<void>
}

type Ask = (
  text: string,
  values?: unknown[],
) => Promise<{ readonly rows: TargetRow[]; readonly command?: string }>

/** What it failed with, if it did. */
async function failureOf(returned: unknown): Promise<{ readonly error: unknown } | undefined> {
  try {
    await returned
    return undefined
  } catch (error) {
    return { error }
  }
}

/** What the database is to blame for, and no handler: also where the error came by way of one. */
function ofDatabase(error: unknown): Error | undefined {
  if (isMnemeError(error)) return error
  for (const at of causesOf(error)) {
    const { severity } = at as { readonly severity?: unknown }
    if (typeof severity === 'string' && NOT_THE_HANDLERS.has(faultOf(at))) return asMnemeError(at)
  }
  return undefined
}

const NOT_THE_HANDLERS: ReadonlySet<ReturnType<typeof faultOf>> = new Set([
  ...(['disconnected', 'locked', 'transient', 'unprepared', 'read-only', 'full'] as const),
])

/** Whether the transaction had failed before, and takes nothing any more. */
function isAborted(error: unknown): boolean {
  return (error as { readonly code?: unknown } | null)?.code === '25P02'
}

function passedOver(): Error {
  return new Error('the transaction had failed before: a handler has passed over an error of the server')
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error('the connection failed')
}

/** A value as it is written. */
function constant(value: TargetValue): string {
  if (value === null) return 'NULL'
  return typeof value === 'number' ? String(value) : literal(value)
}

const WORDS = /\$\d+|('?)\b(NOW|STANDS|PINNED|CLAIMED|HOME|PROJECTIONS|PARKED|VERSIONS)\b\1/g
