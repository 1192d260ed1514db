import type { StoredEvent } from '../adapter/store-adapter.ts'
import type { Followed } from '../projections/handling.ts'
import type { Problem } from './check.ts'
import type { SimulatedDatabase } from './database.ts'

/** A row in which a projection, a reaction or a relay keeps where it stands. */
export interface Standing {
  readonly name: string
  readonly kind: Followed['kind']
  readonly generation: number
  readonly role: 'live' | 'building'
  readonly position: string | null
  readonly owner: string | null
  readonly state: string
  readonly failure: string | null
}

/** Where the projections, reactions and relays of a run stand, as their database has it. */
export class Standings {
  readonly #database: Pick<SimulatedDatabase, 'rows'>
  readonly #log: readonly StoredEvent[]
  #isPrepared = false
  /** The live ones, by name. */
  readonly #live = new Map<string, Standing>()

  constructor(database: Pick<SimulatedDatabase, 'rows'>, log: readonly StoredEvent[]) {
    this.#database = database
    this.#log = log
  }

  /** Whether Mneme's own tables are there. */
  get arePrepared(): boolean {
    return (this.#isPrepared ||=
      this.#database.rows("SELECT 1 FROM sqlite_schema WHERE name = 'mneme_projections'").length > 0)
  }

  /** Reads all of them: after each commit. */
  read(): readonly Standing[] {
    if (!this.arePrepared) return []
    const standings = this.#database.rows(
      "SELECT name, kind, generation, role, position, owner, state, failure FROM mneme_projections WHERE role <> 'retired'",
    ) as unknown as Standing[]
    for (const standing of standings) if (standing.role === 'live') this.#live.set(standing.name, standing)
    return standings
  }

  isLive(name: string): boolean {
    return this.#live.has(name)
  }

  /** How many events the log had up to a position. */
  lengthOf(position: string | null): number {
    return position === null ? 0 : this.#log.findLastIndex((event) => event.position === position) + 1
  }

  /** The first of these, if any, that has not handled all events that it handles among the first ones of the log. */
  behind(all: readonly Pick<Followed, 'name' | 'selection'>[], length: number): string | undefined {
    const isBehind = ({ name, selection }: Pick<Followed, 'name' | 'selection'>) => {
      let last = length
      while (last > 0 && selection.typeOf(this.#log[last - 1]!) === undefined) last--
      return last > this.lengthOf(this.#live.get(name)?.position ?? null)
    }
    return all.find(isBehind)?.name
  }
}

/** Why one of them does not go on, if it is blocked. */
export function blockOf({ kind, name, state, failure }: Standing): Problem | undefined {
  if (state !== 'blocked') return undefined
  const { message } = JSON.parse(failure ?? '{}') as { readonly message?: string }
  return { kind: 'blocked', message: `${kind} '${name}' is blocked: ${String(message)}` }
}
