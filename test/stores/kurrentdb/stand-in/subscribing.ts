import type {
  ReadReq,
  ReadResp,
} from '@kurrent/kurrentdb-client/generated/kurrentdb/protocols/v1/streams_pb.js'

import { filterOf, unfiltered, type Filter } from './filters.ts'
import { streams } from './generated.ts'
import { isEvent, type EventRecord, type Log } from './log.ts'

/** What a subscription tells besides events. */
export type Followed =
  | { readonly kind: 'event'; readonly event: EventRecord }
  | { readonly kind: 'confirmed' }
  /** How far it has looked; where it filters. */
  | { readonly kind: 'checkpoint'; readonly position: bigint }
  /** It says so once for each time that it has looked through what was there; `-1n`: nothing was. */
  | { readonly kind: 'caught-up'; readonly position: bigint }

/** What is behind a position, and then what comes; from the position of the last event or from beyond, only that. */
export async function* follow(
  log: Log,
  filter: ReadReq.Options.FilterOptions | undefined,
  from: bigint,
  cancelled: AbortSignal,
): AsyncGenerator<Followed, undefined> {
  const matches = filter ? filterOf(filter) : unfiltered
  const interval = filter ? windowOf(filter) * filter.getCheckpointintervalmultiplier() : Infinity
  const known = log.records.findLast(isEvent)?.position ?? -1n
  yield { kind: 'confirmed' }
  // The first page begins with what stands at the position, and leaves it out.
  let index = log.indexAt(from)
  let at = from
  /** Of the last checkpoint; the same is not told again. */
  let told = -2n
  if (from < known) {
    let considered = 0
    for (let isOver = false; !isOver;) {
      const page = pageOf(log, index, matches, filter ? windowOf(filter) : 32)
      for (const event of page.events) if (event.position > from) yield { kind: 'event', event }
      // How far it is, it tells by where the page began, unless there was something later in it.
      const places = [at, page.start ?? at, page.events.at(-1)?.position ?? at]
      at = places.reduce((most, place) => (place > most ? place : most))
      index = page.next
      considered += page.considered
      isOver = page.isLast
      if (isOver && at < 0n) at = 0n
      const isDue = filter && (isOver || considered >= interval)
      considered %= interval
      if (!isDue || at <= told) continue
      told = at
      yield { kind: 'checkpoint', position: at }
    }
  }
  yield { kind: 'caught-up', position: at }
  // Live, it counts anew.
  for (let considered = 0; !cancelled.aborted; await more(log, index, cancelled)) {
    for (; index < log.records.length && !cancelled.aborted; index++) {
      const record = log.records[index]!
      if (!isEvent(record) || record.position <= at) continue
      at = record.position
      if (matches(record)) yield { kind: 'event', event: record }
      if (++considered % interval === 0) yield { kind: 'checkpoint', position: at }
    }
  }
  return undefined
}

/** So many events that match, of so many that are looked at. */
function pageOf(
  log: Log,
  first: number,
  matches: Filter,
  window: number,
): { events: EventRecord[]; start: bigint | undefined; considered: number; next: number; isLast: boolean } {
  const events: EventRecord[] = []
  let [next, considered] = [first, 0]
  for (; next < log.records.length && considered < window && events.length < 32; next++) {
    const record = log.records[next]!
    if (!isEvent(record)) continue
    considered++
    if (matches(record)) events.push(record)
  }
  const isLast = considered < window && events.length < 32
  return { events, start: log.records[first]?.position, considered, next, isLast }
}

/** After how many events it says how far it is. */
function windowOf(filter: ReadReq.Options.FilterOptions): number {
  return filter.hasMax() ? filter.getMax() : 32
}

async function more(log: Log, index: number, cancelled: AbortSignal): Promise<void> {
  if (index < log.records.length || cancelled.aborted) return
  await new Promise<void>((resolve) => {
    const done = () => {
      log.followers.delete(done)
      cancelled.removeEventListener('abort', done)
      resolve()
    }
    log.followers.add(done)
    cancelled.addEventListener('abort', done)
  })
}

/** Whatever is no event, as the protocol has it. */
export function told(followed: Exclude<Followed, { kind: 'event' }>): ReadResp {
  const response = new streams.ReadResp()
  if (followed.kind === 'confirmed') {
    const confirmation = new streams.ReadResp.SubscriptionConfirmation()
    return response.setConfirmation(confirmation.setSubscriptionId(crypto.randomUUID()))
  }
  const position = String(followed.position)
  if (followed.kind === 'checkpoint') {
    const checkpoint = new streams.ReadResp.Checkpoint()
    return response.setCheckpoint(checkpoint.setCommitPosition(position).setPreparePosition(position))
  }
  const caughtUp = new streams.ReadResp.CaughtUp()
  if (followed.position >= 0n) {
    const at = new streams.ReadResp.Position().setCommitPosition(position).setPreparePosition(position)
    caughtUp.setPosition(at)
  }
  return response.setCaughtUp(caughtUp)
}
