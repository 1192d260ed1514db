import type { Recorded } from 'mneme'

import type { Trace, TraceNode } from './api.ts'
import { type CallContext, objectIn, textIn, wholeIn } from './call.ts'
import { findEvent, rowOf } from './events.ts'

/**
 * The tree of what an event follows from and what follows from it, with all that has the same correlation. Stores have no index
 * of either, so a bounded number of events before and behind it is looked at; a cause comes before what follows from it.
 */
export async function trace({ store, signal }: CallContext, input: unknown): Promise<Trace> {
  const budget = Math.min(wholeIn(input, 'budget') ?? EVENTS_PER_SEARCH, MAX_EVENTS_PER_SEARCH)
  const { at } = objectIn(input)
  const wanted = at === undefined ? textIn(input, 'wanted') : undefined
  let start = at === undefined ? undefined : await findEvent(store, at, signal)
  let correlation = start ? start.metadata.correlation : wanted
  let cause = start ? start.metadata.causation : wanted
  const to = await store.logHead()
  const found = new Map<string, Recorded>(start ? [[start.id, start]] : [])
  let isWhole = true
  let scanned = 0
  let earliest = start?.position
  /** How many events the first one found lies before the one that was asked for. */
  let lead = 0
  const before = { direction: 'backwards', after: start?.position, signal } as const
  for await (const event of store.readAll(before)) {
    if (cause === undefined && correlation === undefined) break
    if (scanned === budget) {
      isWhole = false
      break
    }
    scanned++
    const isCause = event.id === cause
    if (isCause) {
      // Of an event that was asked for by its id, only now is known what it belongs to.
      if (!start) {
        start = event
        correlation = event.metadata.correlation
      }
      cause = event.metadata.causation
    }
    const isCorrelated = correlation !== undefined && event.metadata.correlation === correlation
    if (!isCause && (!isCorrelated || found.size >= MAX_NODES)) continue
    found.set(event.id, event)
    earliest = event.position
    lead = scanned
  }
  if (earliest === undefined) return { nodes: [], scanned, isWhole }

  let passed = 0
  for await (const event of store.readAll({ after: earliest, to, signal })) {
    if (passed === lead + budget || found.size >= MAX_NODES) {
      isWhole = false
      break
    }
    passed++
    const { correlation: its, causation } = event.metadata
    if (found.has(causation ?? '') || (correlation !== undefined && its === correlation)) {
      found.set(event.id, event)
    }
  }
  return { nodes: treeOf([...found.values()], start?.id), scanned: Math.max(scanned, passed - lead), isWhole }
}

/** Events looked at in each direction, if nobody asks for more. */
const EVENTS_PER_SEARCH = 50_000
const MAX_EVENTS_PER_SEARCH = 5_000_000
const MAX_NODES = 500

/** Each event behind its cause, in the order of the store. */
function treeOf(events: Recorded[], wanted: string | undefined): readonly TraceNode[] {
  events.sort((a, b) => (a.position < b.position ? -1 : 1))
  const ids = new Set(events.map(({ id }) => id))
  const effects = new Map<string | undefined, Recorded[]>()
  for (const event of events) {
    const { causation } = event.metadata
    const cause =
      causation !== undefined && causation !== event.id && ids.has(causation) ? causation : undefined
    const others = effects.get(cause)
    if (others) others.push(event)
    else effects.set(cause, [event])
  }
  const nodes: TraceNode[] = []
  const waiting = (effects.get(undefined) ?? []).map((event) => ({ event, depth: 0 })).reverse()
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const { event, depth } = next
    nodes.push({ event: rowOf(event), depth, isWanted: event.id === wanted })
    for (const effect of (effects.get(event.id) ?? []).reverse())
      waiting.push({ event: effect, depth: depth + 1 })
  }
  return nodes
}
