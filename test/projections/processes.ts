import { join } from 'node:path'
import type { EventStore, Position } from 'mneme'
import { postgresStore, postgresTarget } from 'mneme/postgres'
import { sqliteStore, sqliteTarget } from 'mneme/sqlite'
import { onTestFinished } from 'vitest'

import { ask, type ProjectionTarget } from '../../src/adapter/projection-target.ts'
import { ScriptProcess } from '../support/processes.ts'
import { testDatabase } from '../stores/postgres/database.ts'
import { serverProblem } from '../stores/postgres/server.ts'
import { testFolder } from '../stores/sqlite/folder.ts'
import { Account } from './rig.ts'

const script = new URL('worker.mjs', import.meta.url)

/** The locations of a store and a read model, as processes are told. */
export interface Locations {
  readonly store: string
  readonly target: string
}

/** Amounts of deposits that halt the process which handles them first, as in `worker.mjs`. */
export const HALT_IN_BATCH = 999_983
export const HALT_AFTER_BATCH = 999_979

/** A process that keeps totals of accounts, once told to go, until it is told to stop. See `worker.mjs`. */
export class Projecting extends ScriptProcess {
  constructor(
    locations: Locations,
    how: {
      readonly lease: number
      /** It does not wait to be told to go. */
      readonly isReady?: boolean
      /** Whether it handles pages of events rather than one after the other. */
      readonly isOfPages?: boolean
      readonly version?: number
      readonly onNewVersion?: 'refuse' | 'rebuild'
      readonly busyTimeout?: number
      /** How many workers run in the process. */
      readonly workers?: number
      /** The longest that it takes over one event in fifty, in milliseconds. */
      readonly slow?: number
      /** A file that gets a byte for each event that is handled, committed or not. */
      readonly ledger?: string
      /** A folder: with it, `HALT_IN_BATCH` and `HALT_AFTER_BATCH` halt the first process that handles them. */
      readonly halts?: string
    },
  ) {
    super(script, 'project', JSON.stringify({ ...locations, ...how }))
  }
}

/** A process that deposits until it is told to stop. */
export class Depositing extends ScriptProcess {
  constructor(
    { store }: Locations,
    /** The longest pause between two appends, in milliseconds, and the most events that one has now and then. */
    how: { readonly pause: number; readonly burst?: number },
  ) {
    super(script, 'append', JSON.stringify({ store, ...how }))
  }

  async stopped(): Promise<number> {
    this.say('stop')
    return (await this.result<{ deposited: number }>()).deposited
  }
}

/** The total of an account. */
export interface Total {
  readonly events: number
  readonly balance: number
  readonly chain: number
}

/** A snapshot of a read model, and of Mneme's row about it. */
export interface Kept {
  readonly position: Position | undefined
  readonly version: number
  readonly state: string
  readonly applied: number
  readonly isOwned: boolean
  readonly totals: Readonly<Record<string, Total>>
}

/** A store and a read model, as the test itself sees them. */
export class Watched {
  readonly store: EventStore
  readonly target: ProjectionTarget<never>
  readonly locations: Locations

  constructor(locations: Locations, store: EventStore, target: ProjectionTarget<never>) {
    this.locations = locations
    this.store = store
    this.target = target
  }

  /** The live totals with their checkpoint: of one moment, because it is one statement. None before the first build. */
  async kept(): Promise<Kept | undefined> {
    const rows = await this.target.read(() => ask(KEPT)).catch(noneIfMissing)
    const [first] = rows
    if (!first) return undefined
    const totals = rows
      .filter(({ account }) => account !== null)
      .map(({ account, events, balance, chain }): [string, Total] => [
        account as string,
        { events: Number(events), balance: Number(balance), chain: Number(chain) },
      ])
    return {
      position: (first.position as string | null) ?? undefined,
      version: Number(first.version),
      state: first.state as string,
      applied: Number(first.applied),
      isOwned: first.owner !== null,
      totals: Object.fromEntries(totals),
    }
  }
}

const KEPT = `SELECT p.position, p.version, p.state, p.applied, p.owner, t.account, t.events, t.balance, t.chain
  FROM PROJECTIONS p LEFT JOIN totals t ON 1 = 1 WHERE p.name = 'totals' AND p.role = 'live'`

function noneIfMissing(error: unknown): [] {
  const { message, cause } = error as Error
  if (/no such table|does not exist/.test(`${message} ${String(cause)}`)) return []
  throw error
}

/** A fold of the log that continues from its last position. */
export class Fold {
  readonly #store: EventStore
  readonly #totals = new Map<string, Total>()
  readonly #factor: number
  #at: Position | undefined
  /** How many deposits it has seen. */
  events = 0

  constructor(store: EventStore, factor = 1) {
    this.#store = store
    this.#factor = factor
  }

  /** The totals of all events up to a position, including it. */
  async upTo(position: Position | undefined): Promise<Readonly<Record<string, Total>>> {
    if (this.#at !== undefined && (position === undefined || position < this.#at)) {
      throw new Error('the checkpoint went back')
    }
    if (position !== undefined && position !== this.#at) {
      for await (const stored of this.#store.readAll({ after: this.#at })) {
        if (stored.position > position) break
        this.#add(stored)
      }
    }
    this.#at = position
    return Object.fromEntries(this.#totals)
  }

  #add(stored: Parameters<typeof Account.decode>[0]): void {
    const event = Account.decode(stored)
    if (event?.type !== 'Account.Deposited') return
    const { amount } = event.data
    const { events, balance, chain } = this.#totals.get(event.stream) ?? { events: 0, balance: 0, chain: 0 }
    this.#totals.set(event.stream, {
      events: events + 1,
      balance: balance + amount * this.#factor,
      chain: (chain * 31 + amount) % 1_000_003,
    })
    this.events++
  }
}

const SQLITE = { synchronous: 'normal', busyTimeout: 20_000 } as const

/** Stores and read models that processes share. */
export const sharedPlaces: readonly {
  readonly name: string
  readonly problem?: string | undefined
  open(): Promise<Watched>
}[] = [
  { name: 'a SQLite store, in its own file', open: () => inSqlite('events.db') },
  { name: 'a SQLite store, in another file', open: () => inSqlite('model.db') },
  { name: 'a PostgreSQL store, in its own database', problem: serverProblem, open: inPostgres },
]

export async function inSqlite(readModel: string): Promise<Watched> {
  const folder = testFolder()
  const locations = { store: join(folder, 'events.db'), target: join(folder, readModel) }
  return watched(
    locations,
    await sqliteStore(locations.store, SQLITE),
    sqliteTarget(locations.target, SQLITE),
  )
}

/**
 * @param url of the database; by default a new one on the tests' shared server.
 * @param options `ofFile`: the store is a SQLite file, so that only the read model is in PostgreSQL.
 */
export async function inPostgres(url?: string, options: { ofFile?: boolean } = {}): Promise<Watched> {
  const target = url ?? (await testDatabase()).url
  if (!options.ofFile) {
    return watched({ store: target, target }, await postgresStore(target), postgresTarget(target))
  }
  const store = join(testFolder(), 'events.db')
  return watched({ store, target }, await sqliteStore(store, SQLITE), postgresTarget(target))
}

function watched(locations: Locations, store: EventStore, target: ProjectionTarget<never>): Watched {
  onTestFinished(async () => {
    await store.close()
    await target.close()
  })
  return new Watched(locations, store, target)
}
