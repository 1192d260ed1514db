import { conflictOf, repeatOf } from '../../adapter/append-rules.ts'
import type { Position } from '../../base/revision.ts'
import type { AppendRequest, AppendVerdict, KeyUse, StoredEvent } from '../../adapter/store-adapter.ts'
import { revisionOf, type Judgement } from './append.ts'
import { positions, texts } from './binary.ts'
import { formatNumber, movedBy } from './position.ts'
import { eventOf, numbersIn } from './rows.ts'
import { KEYS, STORED } from './statements.ts'
import type { Parameter, Row } from './wire.ts'

/** An append that wrote nothing, because something was appended before; but not yet what. */
export interface Known {
  readonly request: AppendRequest
  readonly judgement: Extract<Judgement, { readonly kind: 'there' | 'used' }>
}

/** Looks something up; tries again as long as that can help. */
export type Lookup = (sql: string, values: readonly Parameter[]) => Promise<Row[]>

/** The verdicts on such appends, in two look-ups for all of them. */
export async function explain(known: readonly Known[], lookup: Lookup): Promise<AppendVerdict[]> {
  const claimed = known.flatMap(({ request, judgement }) =>
    judgement.kind === 'used' ? request.keys.map(({ key }) => key) : [],
  )
  const rows = claimed.length > 0 ? await lookup(KEYS, [texts(claimed)]) : []
  const keys = new Map(rows.map((row) => [row[0]!, row as KeyRow]))
  const firsts: Position[] = []
  const lasts: Position[] = []
  const add = (first: Position, count: number) => {
    firsts.push(first)
    lasts.push(movedBy(first, count - 1))
  }
  for (const [, , position, first, count] of keys.values()) {
    add(formatNumber(position), Number(first) + Number(count))
  }
  for (const { request, judgement } of known) {
    if (judgement.kind === 'there') add(judgement.first, request.events.length)
  }
  const found = await lookup(STORED, [positions(firsts), positions(lasts)])
  const stored = new Map(found.map(eventOf).map((event) => [event.position, event]))
  const eventsAt = (first: Position, count: number) =>
    Array.from({ length: count }, (_, i) => stored.get(movedBy(first, i))).filter(
      (event) => event !== undefined,
    )
  return known.map(({ request, judgement }) => {
    if (judgement.kind === 'there') {
      const { first, heads } = judgement
      return repeatOf(request, eventsAt(first, request.events.length), heads) ?? conflictOf(request, heads)!
    }
    return { kind: 'used', uses: request.keys.flatMap(({ key }) => useOf(keys.get(key), eventsAt)) }
  })
}

function useOf(
  row: KeyRow | undefined,
  eventsAt: (first: Position, count: number) => StoredEvent[],
): KeyUse[] {
  if (!row) return []
  const [key, fingerprint, position, first, count, names, standing] = row
  const events = eventsAt(formatNumber(position), Number(first) + Number(count))
  // Where the streams stood before that append, moved by its events up to the last one of the key.
  const streams = JSON.parse(names) as string[]
  const before = numbersIn(standing).map((head) => revisionOf(head!))
  const heads = new Map(streams.map((stream, i) => [stream, before[i]!]))
  for (const { stream, revision } of events) heads.set(stream, revision)
  return [{ key, fingerprint, events: events.slice(Number(first)), heads: [...heads] }]
}

type KeyRow = [string, string, string, string, string, string, string]
