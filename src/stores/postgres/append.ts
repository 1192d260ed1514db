import { anchorOf, conflictOf, placeEvents, repeatOf } from '../../adapter/append-rules.ts'
import { currentTime, timeOf } from '../../base/clock.ts'
import { categoryOf } from '../../model/names.ts'
import type { ExpectedRevision, Position, Revision } from '../../base/revision.ts'
import type {
  AppendRequest,
  AppendVerdict,
  EventsErased,
  KeyUse,
  NewEvent,
  StoredEvent,
} from '../../adapter/store-adapter.ts'
import { bools, int4s, int8s, type Parameter, positions, type Row, texts, uuids } from './wire.ts'
import { formatNumber, movedBy, positionOf } from './position.ts'
import { eventOf, FIRST_REVISION, HEADS, isDeleted, KEYS, numbersIn, STORED } from './statements.ts'

/** The server's answer to one append. */
export type ServerVerdict =
  /** The final verdict: nothing more has to be asked. */
  | { readonly kind: 'verdict'; readonly verdict: AppendVerdict }
  /** Its events are stored already, the first of them at this position. */
  | { readonly kind: 'there'; readonly first: string; readonly heads: readonly Revision[] }
  /** One of its keys was used. */
  | { readonly kind: 'used' }
  /** It was not judged: a stream or key is locked (`isBusy`), or it depends on another append of the same call. */
  | { readonly kind: 'unjudged'; readonly isBusy: boolean }
  /** Another attempt has settled it: this one arrived too late. */
  | { readonly kind: 'settled' }

/** How a call of appends waits, and what it looks for. */
export interface CallOptions {
  /** Names the attempt if a repeat of one of its appends cannot be recognised by revisions. */
  readonly call: string | undefined
  /** Milliseconds to wait for locks; `undefined`: appends to locked streams are left unjudged. */
  readonly wait: number | undefined
  /** Set to settle an earlier attempt, whose events are looked for above this position. */
  readonly after?: Position | undefined
}

/** Whether an append fits the short statement. */
export function isSimple({ conditions, events, keys }: AppendRequest): boolean {
  return conditions.length === 1 && events.length === 1 && keys.length === 0 && events[0]!.time === undefined
}

/** The times of the events of these appends, for the statement that takes them; `undefined` if none is imported. */
export function recordedTimes(requests: readonly AppendRequest[]): Parameter | undefined {
  if (!requests.some(({ events }) => events.some(({ time }) => time !== undefined))) return undefined
  const times = requests.flatMap(({ events }) => events.map(({ time }) => time))
  return int8s(times.map((time) => (time === undefined ? Number.MIN_SAFE_INTEGER : Date.parse(time))))
}

/** Whether a repeat of it is recognised by the revisions that it expects. */
export function isAnchored(request: AppendRequest): boolean {
  return request.events.length === 0 || anchorOf(request) !== undefined
}

/** The parameters of the short statement. */
export function simpleParameters(
  { conditions, events }: AppendRequest,
  call: string | undefined,
  wait: number,
): Parameter[] {
  const { stream, id, type, version, data, metadata } = events[0]!
  const expected = String(expectedNumber(conditions[0]!.expected))
  return [stream, expected, call ?? null, String(wait), id, type, String(version), data, metadata]
}

/** The short statement's answer; `undefined` if the other statement has to say more. */
export function simpleVerdict(request: AppendRequest, row: Row): ServerVerdict | undefined {
  if (typeof row[0] !== 'string') return undefined
  const [number, revision, milliseconds] = numbersIn(row[0]) as [number, number, number]
  if (number === 0) return { kind: 'verdict', verdict: refusal(request, [revisionOf(revision)]) }
  const verdict: AppendVerdict = {
    kind: 'appended',
    revisions: [revision],
    positions: [positionOf(number, 0)],
    time: timeOf(milliseconds),
    heads: [revision],
  }
  return { kind: 'verdict', verdict }
}

/** The parameters of the statement for any appends. */
export function parameters(requests: readonly AppendRequest[], options: CallOptions): Parameter[] {
  const events: NewEvent[] = []
  const lastEvents: number[] = []
  const conditions: { stream: string; expected: number }[] = []
  const lastConditions: number[] = []
  const anchors: { event: number; revision: number }[] = []
  const keys: { key: string; append: number; fingerprint: string; first: number; count: number }[] = []
  const written = new Map<string, boolean>()
  requests.forEach((request, append) => {
    const anchor = anchorOf(request)
    anchors.push({ event: anchor ? events.length + anchor.index + 1 : 0, revision: anchor?.revision ?? 0 })
    for (const { stream, expected } of request.conditions) {
      if (!written.has(stream)) written.set(stream, false)
      conditions.push({ stream, expected: expectedNumber(expected) })
    }
    for (const event of request.events) {
      written.set(event.stream, true)
      events.push(event)
    }
    for (const claim of request.keys) keys.push({ ...claim, append: append + 1 })
    lastConditions.push(conditions.length)
    lastEvents.push(events.length)
  })
  // All callers lock streams in the same order: by name.
  const streams = [...written.keys()].sort()
  const index = new Map(streams.map((stream, i) => [stream, i + 1]))
  // Keys are in the order of the appends; only a lone append waits for locks, and takes its keys in order of name.
  if (requests.length === 1) keys.sort((a, b) => (a.key < b.key ? -1 : 1))
  const { call, wait, after } = options
  return [
    texts(streams),
    bools(streams.map((stream) => written.get(stream)!)),
    texts(keys.map(({ key }) => key)),
    call ?? null,
    wait === undefined ? null : String(wait),
    after ?? null,
    int4s(lastConditions),
    int4s(conditions.map(({ stream }) => index.get(stream)!)),
    int8s(conditions.map(({ expected }) => expected)),
    int4s(lastEvents),
    int4s(events.map(({ stream }) => index.get(stream)!)),
    uuids(events.map(({ id }) => id)),
    texts(events.map(({ type }) => type)),
    int8s(events.map(({ version }) => version)),
    int4s(requests.flatMap(({ events }) => runsOf(events, (event) => event.type))),
    int4s(requests.flatMap(({ events }) => runsOf(events, (event) => categoryOf(event.stream)))),
    texts(events.map(({ data }) => data)),
    texts(events.map(({ metadata }) => metadata)),
    int4s(anchors.map(({ event }) => event)),
    int8s(anchors.map(({ revision }) => revision)),
    int4s(keys.map(({ append }) => append)),
    texts(keys.map(({ fingerprint }) => fingerprint)),
    int4s(keys.map(({ first }) => first)),
    int4s(keys.map(({ count }) => count)),
  ]
}

/** That statement's answer to each append. */
export function serverVerdicts(requests: readonly AppendRequest[], row: Row): ServerVerdict[] {
  const verdicts = numbersIn(row[0]!)
  const standing = numbersIn(row[1]!)
  const number = Number(row[2])
  const time = timeOf(Number(row[3]))
  const there = row[4]!.slice(1, -1).split(',')
  let condition = 0
  let event = 0
  return requests.map((request, i) => {
    const heads = request.conditions.map((_, c) => revisionOf(standing[condition + c]!))
    const first = event
    condition += request.conditions.length
    event += request.events.length
    switch (verdicts[i]) {
      case 1: {
        const { revisions, heads: after } = placeEvents(request, heads)
        const positions = revisions.map((_, e) => positionOf(number, first + e))
        const isWritten = positions.length > 0
        const verdict = {
          kind: 'appended',
          revisions,
          positions,
          time: isWritten ? time : currentTime(),
          heads: after,
        } as const
        return { kind: 'verdict', verdict }
      }
      case 2:
        return { kind: 'there', first: formatNumber(there[i]!), heads }
      case 3:
        return { kind: 'unjudged', isBusy: false }
      case 4:
        return { kind: 'used' }
      case 5:
        return { kind: 'unjudged', isBusy: true }
      case 6:
        return { kind: 'settled' }
      default:
        return { kind: 'verdict', verdict: refusal(request, heads) }
    }
  })
}

/** The verdict on an append that the server refused because of where its streams stand. */
function refusal(request: AppendRequest, heads: readonly Revision[]): AppendVerdict {
  const deleted = heads.findIndex(isDeleted)
  if (deleted < 0) return conflictOf(request, heads)!
  return { kind: 'erased', stream: request.conditions[deleted]!.stream, firstRevision: undefined }
}

/** For the first of adjacent events of one kind, how many they are; 0 for the others. */
function runsOf(events: readonly NewEvent[], kindOf: (event: NewEvent) => string): number[] {
  const runs = events.map(() => 0)
  let first = 0
  events.forEach((event, i) => {
    if (kindOf(event) !== kindOf(events[first]!)) first = i
    runs[first]!++
  })
  return runs
}

export function expectedNumber(expected: ExpectedRevision): number {
  return expected === 'any' ? -3 : expected === 'exists' ? -2 : expected === 'none' ? -1 : expected
}

/** A revision as the server counts it; below 0 the stream has no events. */
export function revisionOf(number: number): Revision {
  return number < 0 ? 'none' : number
}

/** An append that wrote nothing because it repeats an earlier one, which is still to be read. */
export interface Known {
  readonly request: AppendRequest
  readonly verdict: Extract<ServerVerdict, { readonly kind: 'there' | 'used' }>
}

/** Runs a query, and retries as long as that can help. */
export type Lookup = (sql: string, values: readonly Parameter[]) => Promise<Row[]>

/** The verdicts on such appends, by two queries for all of them. */
export async function explain(known: readonly Known[], lookup: Lookup): Promise<AppendVerdict[]> {
  const claimed = known.flatMap(({ request, verdict }) =>
    verdict.kind === 'used' ? request.keys.map(({ key }) => key) : [],
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
  for (const { request, verdict } of known) {
    if (verdict.kind === 'there') add(verdict.first, request.events.length)
  }
  const found = await lookup(STORED, [positions(firsts), positions(lasts)])
  const stored = new Map(found.map(eventOf).map((event) => [event.position, event]))
  const eventsAt = (first: Position, count: number) =>
    Array.from({ length: count }, (_, i) => stored.get(movedBy(first, i))).filter(
      (event) => event !== undefined,
    )
  const verdicts = known.map(({ request, verdict }): AppendVerdict => {
    if (verdict.kind === 'there') {
      const { first, heads } = verdict
      return repeatOf(request, eventsAt(first, request.events.length), heads) ?? refusal(request, heads)
    }
    return { kind: 'used', uses: request.keys.flatMap(({ key }) => useOf(keys.get(key), eventsAt)) }
  })
  return Promise.all(verdicts.map(async (verdict) => (await erasedIn(verdict, lookup)) ?? verdict))
}

/** The verdict on a repeat of an append of which an event was erased. */
async function erasedIn(verdict: AppendVerdict, lookup: Lookup): Promise<EventsErased | undefined> {
  const repeated =
    verdict.kind === 'repeated'
      ? verdict.events
      : verdict.kind === 'used'
        ? verdict.uses.flatMap(({ events }) => events)
        : []
  const stream = repeated.find(({ version }) => version === 0)?.stream
  if (stream === undefined) return undefined
  const [head] = await lookup(HEADS, [texts([stream])])
  const isGone = isDeleted(Number(head![0]))
  const [first] = isGone ? [] : await lookup(FIRST_REVISION, [stream, head![0]!])
  return { kind: 'erased', stream, firstRevision: first && Number(first[0]) }
}

function useOf(
  row: KeyRow | undefined,
  eventsAt: (first: Position, count: number) => StoredEvent[],
): KeyUse[] {
  if (!row) return []
  const [key, fingerprint, position, first, count, names, standing] = row
  const events = eventsAt(formatNumber(position), Number(first) + Number(count))
  // The heads before that append, moved on by its events up to the last one of the key.
  const streams = JSON.parse(names) as string[]
  const before = numbersIn(standing).map((head) => revisionOf(head!))
  const heads = new Map(streams.map((stream, i) => [stream, before[i]!]))
  for (const { stream, revision } of events) heads.set(stream, revision)
  return [{ key, fingerprint, events: events.slice(Number(first)), heads: [...heads] }]
}

type KeyRow = [string, string, string, string, string, string, string]
