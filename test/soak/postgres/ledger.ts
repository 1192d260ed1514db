import { readFileSync } from 'node:fs'
import type { TestServer } from '../../stores/postgres/server.ts'
import type { Tail } from './processes.ts'

/** An event as it stands in the database. */
export interface Stored {
  readonly position: string
  readonly stream: string
  readonly revision: number
  readonly id: string
}

/** What is known of an append when all is over. */
type Fate = 'acknowledged' | 'refused' | 'unknown'

interface Append {
  readonly n: string
  readonly key: string | undefined
  readonly conditions: readonly { readonly stream: string; readonly expected: number | string }[]
  readonly events: readonly { readonly stream: string; readonly id: string }[]
  /** The highest position that its process was acknowledged before. */
  readonly after: string
  told: readonly [string, number, string, string][]
  attempts: number
  /** Attempts that are sure to have had no effect. */
  refusals: number
  isConflicting: boolean
}

type Expected = number | string

interface Line {
  readonly b?: string
  readonly r?: string
  readonly a?: string
  readonly f?: string
  readonly u?: string
  readonly v?: string
  readonly x?: string
  readonly k?: string
  /** How many attempts are made at once. */
  readonly t?: number
  readonly w?: readonly [string, Expected, string[]][]
  readonly e?: readonly [string, number, string, string][]
  readonly p?: boolean
  readonly code?: string
  readonly message?: string
  readonly cause?: string
}

/** What writers began, and what they were told: all that their ledgers say. See `worker.mjs`. */
export class Ledgers {
  readonly appends: Append[] = []
  /** What must never be, and the writers saw. */
  readonly violations: string[] = []
  /** Errors that are neither a conflict nor an unknown outcome, and how often they came. */
  readonly failures = new Map<string, number>()
  readonly unknown = new Map<string, number>()
  acknowledged = 0
  refused = 0
  /** Acknowledged as repeats, though made once. */
  settled = 0

  constructor(files: readonly string[]) {
    for (const file of files) this.#read(file)
  }

  #read(file: string): void {
    const appends = new Map<string, Append>()
    let after = ''
    for (const text of readFileSync(file, 'utf8').trimEnd().split('\n')) {
      if (text === '') continue
      const line = JSON.parse(text) as Line
      const append = appends.get(line.r ?? line.a ?? line.f ?? line.u ?? '')
      if (line.b !== undefined) appends.set(line.b, begun(line, after))
      else if (line.v !== undefined) this.violations.push(line.v)
      else if (line.x !== undefined) count(this.failures, failureOf(line.x, line))
      else if (!append) throw new Error(`nothing is known of ${text}`)
      else if (line.r !== undefined) append.attempts++
      else if (line.u !== undefined) count(this.unknown, line.message ?? '')
      else if (line.e) {
        const isOther = append.told.some((told, i) => told.join() !== line.e![i]?.join())
        if (isOther) this.violations.push(`${append.n} was told other things`)
        append.told = line.e
        const last = line.e.at(-1)![3]
        if (last > after) after = last
        if (line.p === true && append.attempts === 1) this.settled++
      } else {
        append.refusals++
        if (line.code === 'CONFLICT') append.isConflicting = true
        else count(this.failures, failureOf(line.code ?? '', line))
      }
    }
    for (const append of appends.values()) {
      this.appends.push(append)
      const fate = fateOf(append)
      if (fate === 'acknowledged') this.acknowledged++
      if (fate === 'refused') this.refused++
    }
  }

  /** How many appends are there, of those whose outcome nobody heard. */
  unheard(ids: ReadonlySet<string>): number {
    const isThere = (append: Append) => append.events.some(({ id }) => ids.has(id))
    return this.appends.filter((append) => fateOf(append) === 'unknown' && isThere(append)).length
  }

  /**
   * Whether a log holds what it should: everything acknowledged, whole, once, where it was told to be; nothing refused;
   * what is unknown whole or not at all; and, in the order of positions, each append where its expectations held.
   *
   * @returns what is wrong.
   */
  check(log: readonly Stored[]): string[] {
    const wrong = [...this.violations]
    const places = new Map<string, number>()
    const heads = new Map<string, number>()
    log.forEach(({ id, stream, revision }, i) => {
      if (places.has(id)) wrong.push(`${id} is there twice`)
      places.set(id, i)
      if (revision !== (heads.get(stream) ?? -1) + 1) wrong.push(`${stream} has a gap before ${revision}`)
      heads.set(stream, revision)
    })

    const there: { append: Append; at: number }[] = []
    let events = 0
    for (const append of this.appends) {
      const found = append.events.map(({ id }) => places.get(id)).filter((at) => at !== undefined)
      const { n } = append
      const fate = fateOf(append)
      if (found.length === 0) {
        if (fate === 'acknowledged') wrong.push(`${n} was acknowledged and is not there`)
        continue
      }
      events += found.length
      const at = found[0]!
      there.push({ append, at })
      if (found.length < append.events.length) wrong.push(`${n} is there in part`)
      if (fate === 'refused') wrong.push(`${n} was refused and is there`)
      if (log[at]!.position <= append.after) wrong.push(`${n} stands before what was acknowledged before it`)
      append.events.forEach(({ stream, id }, i) => {
        const stored = log[at + i]
        if (stored?.id !== id || stored.stream !== stream) wrong.push(`${n} is not there in its order`)
        else if (BigInt(stored.position) !== BigInt(log[at]!.position) + BigInt(i))
          wrong.push(`${n} is not adjacent`)
        const told = append.told[i]
        if (told && told.join() !== [stream, stored?.revision, id, stored?.position].join()) {
          wrong.push(`${n} was told ${told.join()}, and is ${JSON.stringify(stored)}`)
        }
      })
    }
    if (events !== log.length) wrong.push(`${log.length - events} events are of nobody`)

    // As if one after the other.
    there.sort((a, b) => a.at - b.at)
    const standing = new Map<string, number>()
    const keys = new Set<string>()
    for (const { append, at } of there) {
      for (const { stream, expected } of append.conditions) {
        const head = standing.get(stream)
        if (expected !== 'any' && expected !== (head ?? 'none')) {
          wrong.push(`${append.n} expected ${stream} at ${expected}, and it was at ${head ?? 'none'}`)
        }
      }
      if (append.key !== undefined && keys.has(append.key))
        wrong.push(`the key of ${append.n} was used twice`)
      if (append.key !== undefined) keys.add(append.key)
      append.events.forEach(({ stream }, i) => standing.set(stream, log[at + i]?.revision ?? -1))
    }
    return wrong
  }
}

function begun({ b, k, t, w }: Line, after: string): Append {
  const writes = w ?? []
  return {
    n: b ?? '',
    key: k,
    conditions: writes.map(([stream, expected]) => ({ stream, expected })),
    events: writes.flatMap(([stream, , ids]) => ids.map((id) => ({ stream, id }))),
    after,
    told: [],
    attempts: t ?? 1,
    refusals: 0,
    isConflicting: false,
  }
}

function fateOf({ told, attempts, refusals, isConflicting }: Append): Fate {
  if (told.length > 0) return 'acknowledged'
  // An exact expectation that does not hold will never hold again, whatever is still under way.
  return isConflicting || refusals === attempts ? 'refused' : 'unknown'
}

function failureOf(code: string, { message, cause }: Line): string {
  return `${code} ${cause ?? ''} ${(message ?? '').split('\n')[0]}`
}

function count(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1)
}

/** All that is stored, as the database itself has it. */
export async function storedIn(server: TestServer, url: string, schema = 'mneme'): Promise<Stored[]> {
  const database = decodeURIComponent(new URL(url).pathname.slice(1))
  const sql = `SELECT lpad(position::text, 19, '0') AS position, stream, revision::int AS revision, id::text AS id
    FROM ${schema}.events ORDER BY events.position`
  return (await server.query(sql, database)) as unknown as Stored[]
}

/** How what a tail saw differs from the log as it is in the end. */
export interface Differences {
  /** Never seen. */
  readonly missed: number
  /** Seen again. */
  readonly doubled: number
  /** Seen after what stands behind it. */
  readonly late: number
  /** Seen, and not there. */
  readonly unreal: number
}

export function differences({ seen, categories }: Tail, log: readonly Stored[]): Differences {
  const lines = readFileSync(seen, 'utf8').split('\n').slice(0, -1)
  const isAsked = ({ stream }: Stored) => categories?.includes(stream.split('-')[0]!) ?? true
  const expected = log
    .filter(isAsked)
    .map(({ position, stream, revision, id }) => `${position} ${stream} ${revision} ${id}`)
  const known = new Set(expected)
  const met = new Set<string>()
  let [doubled, late, unreal] = [0, 0, 0]
  let highest = ''
  for (const line of lines) {
    if (met.has(line)) doubled++
    else if (!known.has(line)) unreal++
    met.add(line)
    const position = line.slice(0, 19)
    if (position <= highest) late++
    else highest = position
  }
  return { missed: expected.filter((line) => !met.has(line)).length, doubled, late, unreal }
}

export const none: Differences = { missed: 0, doubled: 0, late: 0, unreal: 0 }
