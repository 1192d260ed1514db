import type { Throughput } from './api.ts'
import { type CallContext, filterIn, wholeIn } from './call.ts'

/** How many events were recorded when, and of which types: of the last ones, because stores have no index of times. */
export async function throughput({ store, signal }: CallContext, input: unknown): Promise<Throughput> {
  const budget = Math.min(wholeIn(input, 'budget') ?? EVENTS_PER_LOOK, MAX_EVENTS_PER_LOOK)
  const times: number[] = []
  const counts = new Map<string, number>()
  let isWhole = true
  for await (const { time, type } of store.readAll({ ...filterIn(input), direction: 'backwards', signal })) {
    if (times.length === budget) {
      isWhole = false
      break
    }
    times.push(Date.parse(time))
    counts.set(type, (counts.get(type) ?? 0) + 1)
  }
  const types = [...counts]
    .map(([type, events]) => ({ type, events }))
    .sort((a, b) => b.events - a.events)
    .slice(0, MAX_TYPES)
  const [from, to] = times.reduce(
    ([from, to], time) => [Math.min(from, time), Math.max(to, time)],
    [Infinity, -Infinity],
  )
  if (times.length === 0) return { events: 0, bars: [], types, isWhole }
  const bars = Array<number>(BARS).fill(0)
  for (const time of times) bars[Math.min(Math.floor(((time - from) / (to - from || 1)) * BARS), BARS - 1)]!++
  return { events: times.length, from: isoOf(from), to: isoOf(to), bars, types, isWhole }
}

const BARS = 60
const MAX_TYPES = 100
const EVENTS_PER_LOOK = 50_000
const MAX_EVENTS_PER_LOOK = 1_000_000

function isoOf(time: number): string {
  return new Date(time).toISOString()
}
