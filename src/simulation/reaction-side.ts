import type { StoredEvent } from '../adapter/store-adapter.ts'
import type { Recorded } from '../model/event.ts'
import { DefinedReaction } from '../reactions/reaction.ts'
import { DefinedRelay } from '../reactions/relay.ts'
import type { ReactionSpec, RelaySpec } from '../reactions/spec.ts'
import { CALL, type Problem } from './check.ts'
import type { SimulatedDatabase } from './database.ts'
import { BY_REACTION, Effects, type EffectsSettings } from './effects.ts'
import type { Network } from './network.ts'
import type { SimulatedProcess } from './scheduler.ts'
import type { Standings } from './standings.ts'

/** The reactions and relays of a run. */
export interface PlannedReactions {
  readonly specs: readonly (ReactionSpec | RelaySpec)[]
  /** What their commands need. */
  readonly needs: object
}

/** What the reactions of a run are made of. */
export interface ReactionSideSettings {
  readonly planned: PlannedReactions
  readonly network: Network
  readonly log: readonly StoredEvent[]
  readonly database: Pick<SimulatedDatabase, 'rows'>
  readonly standings: Standings
  /** Changes what each process runs: to plant a fault. */
  readonly plant: ((spec: ReactionSpec | RelaySpec) => ReactionSpec | RelaySpec) | undefined
}

/** The reactions and relays of a run: they are run by each process, and what they did is compared with the log. */
export class ReactionSide {
  readonly #settings: ReactionSideSettings
  /** The ids of the events that each relay has sent, by its name. */
  readonly #sent = new Map<string, string[]>()

  constructor(settings: ReactionSideSettings) {
    this.#settings = settings
  }

  /** As a process runs them: by its clock, and with relays that send to nobody. */
  of(process: SimulatedProcess): readonly (DefinedReaction | DefinedRelay)[] {
    const { planned, plant } = this.#settings
    return planned.specs.map((defined) => {
      const spec = plant?.(defined) ?? defined
      const own = { startAt: 'start', clock: process, date: () => process.date() } as const
      if (spec.kind === 'reaction') return new DefinedReaction({ ...spec, ...own })
      const { maxRetries, maxDelay } = spec.retry
      const retry = { ...spec.retry, maxDelay: Math.min(maxDelay, RETRY_MS) }
      const send = (batch: readonly Recorded[]) =>
        this.#send(spec.name, batch, process, maxRetries === Infinity)
      return new DefinedRelay({ ...spec, ...own, retry, send })
    })
  }

  /** How they are run. */
  options(): { readonly needs: object; readonly metadata: Readonly<Record<string, string>> } {
    return { needs: this.#settings.planned.needs, metadata: { [CALL]: BY_REACTION } }
  }

  async #send(name: string, batch: readonly Recorded[], process: SimulatedProcess, mayFail: boolean) {
    const { network } = this.#settings
    await network.travel(process)
    const sent = this.#sent.get(name)
    const ids = batch.map(({ id }) => id)
    if (sent) sent.push(...ids)
    else this.#sent.set(name, ids)
    await network.travel(process)
    if (mayFail && network.strikes('lostAnswer', process))
      throw new Error('the simulated receiver does not answer')
  }

  /** When the next timer is due, in milliseconds since 1970; -Infinity while one is being fired. */
  nextTimer(): number | undefined {
    if (this.#settings.planned.specs.length === 0) return undefined
    const rows = this.#rows(
      `SELECT min(CASE WHEN state = 'firing' THEN -1 ELSE due END) AS due FROM mneme_timers t WHERE state <> 'parked' AND NOT EXISTS
        (SELECT 1 FROM mneme_parked p WHERE p.name = t.name AND p.sequence = t.sequence)`,
    )
    const due = rows[0]?.due
    if (due === null || due === undefined) return undefined
    return due < 0 ? -Infinity : due
  }

  /** What is wrong with what they did, once all of it is done. */
  async check(
    settings: Pick<EffectsSettings, 'history' | 'keys' | 'isPunctual' | 'until'>,
  ): Promise<Problem | undefined> {
    const { needs, specs } = this.#settings.planned
    const aside = new Set(
      [
        ...this.#rows('SELECT name, position AS of FROM mneme_parked'),
        ...this.#rows("SELECT name, timer || ' ' || event_id AS of FROM mneme_timers WHERE state = 'parked'"),
        ...this.#rows(
          `SELECT t.name, t.timer || ' ' || t.event_id AS of FROM mneme_timers t JOIN mneme_parked p
            ON p.name = t.name AND p.sequence = t.sequence`,
        ),
      ].map(({ name, of }) => `${name!} ${of!}`),
    )
    const isParked: EffectsSettings['isParked'] = (name, { position, id }, timer) =>
      aside.has(timer === undefined ? `${name} ${position}` : `${name} ${timer} ${id}`)
    for (const spec of specs) {
      const problem = spec.kind === 'relay' ? this.#checkRelay(spec, isParked) : undefined
      if (problem) return problem
    }
    const reactions = specs.filter((spec) => spec.kind === 'reaction')
    return new Effects({ ...settings, needs, isParked }).check(reactions)
  }

  /** Each event was sent, and none before those that stand before it. */
  #checkRelay({ name, selection }: RelaySpec, isParked: EffectsSettings['isParked']): Problem | undefined {
    const wanted = this.#settings.log.filter(
      (event) => selection.typeOf(event) !== undefined && !isParked(name, event),
    )
    const places = new Map(wanted.map(({ id }, place) => [id, place]))
    let next = 0
    for (const id of this.#sent.get(name) ?? []) {
      const place = places.get(id)
      if (place === undefined || place < next) continue
      if (place > next) {
        return { kind: 'effect', message: `relay ${name} sent event ${id} before ${wanted[next]!.id}` }
      }
      next++
    }
    if (next === wanted.length) return undefined
    return { kind: 'effect', message: `relay ${name} never sent event ${wanted[next]!.id}` }
  }

  /** Rows of Mneme's own tables; none before they are made. */
  #rows(sql: string): readonly Row[] {
    const { database, standings } = this.#settings
    return standings.arePrepared ? database.rows(sql) : []
  }
}

interface Row {
  readonly name?: string
  readonly of?: string
  readonly due?: number | null
}

/** The longest that a relay waits before it tries again: a simulation does not wait for half a minute. */
const RETRY_MS = 1_000
