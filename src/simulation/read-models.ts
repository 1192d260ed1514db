import type { StoredEvent } from '../adapter/store-adapter.ts'
import { cannotReveal } from '../projections/batch.ts'
import type { Definition } from '../projections/define.ts'
import { fromStored } from '../store/decode.ts'
import type { SqliteDatabase } from '../stores/sqlite/driver.ts'
import type { Problem } from './check.ts'
import type { SimulatedDatabase } from './database.ts'
import { blockOf, type Standing, type Standings } from './standings.ts'

/**
 * What handlers make of the log: each event once, one after the other. It shares only the handlers with what it checks, and
 * which events they are for; nothing that reads ahead, batches, retries, keeps checkpoints or takes leases.
 */
class Fold {
  readonly #definition: Definition
  readonly #database: SqliteDatabase
  /** Its tables, as `setup` made them. */
  readonly tables: readonly string[]
  /** The places of events whose handler threw. */
  readonly failed: number[] = []
  readonly #names: Readonly<Record<string, string>>
  #length = 0

  constructor(definition: Definition, database: SqliteDatabase) {
    this.#definition = definition
    this.#database = database
    this.#names = Object.fromEntries(definition.tables.map((table) => [table, table]))
    definition.setup?.(database, { tables: this.#names, reveal: cannotReveal })
    const made =
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    this.tables = (database.prepare(made).all() as { readonly name: string }[]).map(({ name }) => name)
  }

  get length(): number {
    return this.#length
  }

  /** Handles the events up to a length of the log. */
  reach(log: readonly StoredEvent[], length: number): void {
    const { selection, handlers } = this.#definition
    for (; this.#length < length; this.#length++) {
      const stored = log[this.#length]!
      const type = selection.typeOf(stored)
      if (type === undefined) continue
      this.#database.exec('SAVEPOINT event')
      try {
        handlers.get(type)!(fromStored(stored), this.#database, { tables: this.#names, reveal: cannotReveal })
      } catch {
        this.#database.exec('ROLLBACK TO event')
        this.failed.push(this.#length)
      }
      this.#database.exec('RELEASE event')
    }
  }

  contents(table: string): string[] {
    return contentsOf(this.#database, table)
  }

  close(): void {
    this.#database.close()
  }
}

/** Compares the read models of a run with what their handlers make of the log. */
export class ReadModels {
  readonly #definitions: ReadonlyMap<string, Definition>
  readonly #database: SimulatedDatabase
  readonly #open: () => SqliteDatabase
  readonly #log: readonly StoredEvent[]
  readonly #folds = new Map<string, Fold>()
  readonly #standings: Standings
  /** What was last seen of each build, by name and generation. */
  readonly #seen = new Map<string, Standing>()

  constructor(
    definitions: readonly Definition[],
    {
      database,
      standings,
      open,
      log,
    }: {
      readonly database: SimulatedDatabase
      readonly standings: Standings
      readonly open: () => SqliteDatabase
      readonly log: readonly StoredEvent[]
    },
  ) {
    this.#definitions = new Map(definitions.map((definition) => [definition.name, definition]))
    this.#database = database
    this.#standings = standings
    this.#open = open
    this.#log = log
  }

  /**
   * After a commit: each read model holds what its handlers make of the log up to its checkpoint.
   *
   * @param standings after it. @param told what the process did that committed.
   */
  check(standings: readonly Standing[], told: (what: string) => void): Problem | undefined {
    for (const standing of standings) {
      const definition = this.#definitions.get(standing.name)
      if (!definition) continue
      const { name, generation, role, position, owner } = standing
      const key = `${name} ${String(generation)}`
      const before = this.#seen.get(key)
      const length = this.#standings.lengthOf(position)
      this.#seen.set(key, standing)
      const what = role === 'live' ? name : `the rebuild of ${name}`
      if (owner !== (before?.owner ?? null)) {
        told(owner === null ? `leaves the lease of ${what}` : `has the lease of ${what}`)
      }
      const problem = this.#compare(definition, standing, length)
      if (problem !== undefined || position !== (before?.position ?? null)) {
        told(`commits ${what} up to event ${String(length)}`)
      }
      if (problem) return problem
    }
    return undefined
  }

  /** Whether the tables of all projections are there. */
  get areSetUp(): boolean {
    return [...this.#definitions.keys()].every((name) => this.#standings.isLive(name))
  }

  close(): void {
    for (const fold of this.#folds.values()) fold.close()
  }

  #compare(definition: Definition, standing: Standing, length: number): Problem | undefined {
    const { name, role, generation } = standing
    const block = blockOf(standing)
    if (block) return block
    const fold = this.#foldOf(definition, generation, length)
    const problem = (message: string): Problem => ({
      kind: 'read model',
      message: `projection '${name}' ${message}`,
    })
    const parked = this.#database.rows(
      'SELECT position FROM mneme_parked WHERE name = ? AND generation = ? ORDER BY position',
      [name, generation],
    )
    const failed = fold.failed.map((place) => this.#log[place]!.position)
    if (parked.map(({ position }) => position).join() !== failed.join()) {
      return problem(
        `has set ${String(parked.length)} events aside; its handlers fail on ${String(failed.length)}`,
      )
    }
    for (const table of fold.tables) {
      const suffix = role === 'live' ? '' : `__${String(generation)}`
      const [actual, expected] = [contentsOf(this.#database, `${table}${suffix}`), fold.contents(table)]
      if (actual.join('\n') === expected.join('\n')) continue
      const at = `up to event ${String(length)}, table '${table}'`
      return problem(`is not what its handlers make of the log: ${at} has ${differing(actual, expected)}`)
    }
    return undefined
  }

  #foldOf(definition: Definition, generation: number, length: number): Fold {
    const key = `${definition.name} ${String(generation)}`
    let fold = this.#folds.get(key)
    if (!fold || fold.length > length) {
      fold?.close()
      this.#folds.set(key, (fold = new Fold(definition, this.#open())))
    }
    fold.reach(this.#log, length)
    return fold
  }
}

function contentsOf(database: Pick<SqliteDatabase, 'prepare'>, table: string): string[] {
  const rows = database.prepare(`SELECT * FROM "${table}"`).all() as object[]
  return rows.map((row) => JSON.stringify(row)).sort()
}

/** Which rows differ, in words. */
function differing(actual: readonly string[], expected: readonly string[]): string {
  const [wrong, right] = [without(actual, expected), without(expected, actual)]
  if (wrong === right) return `${String(actual.length)} rows instead of ${String(expected.length)}`
  return `${wrong} instead of ${right}`
}

/** The rows that others do not have, in words. */
function without(rows: readonly string[], others: readonly string[]): string {
  const rest = rows.filter((row) => !others.includes(row))
  return rest.length === 0 ? 'nothing' : rest.slice(0, MAX_ROWS_TOLD).join(', ')
}

const MAX_ROWS_TOLD = 3
