import type { Throughput } from './api.ts'
import { type CallContext, filterIn, wholeIn } from './call.ts'

/** How many events were recorded when, and of which types and versions: of the last ones, because stores have no index of times. */
export async function throughput({ store, signal }: CallContext, input: unknown): Promise<Throughput> {
  const budget = Math.min(wholeIn(input, 'budget') ?? EVENTS_PER_LOOK, MAX_EVENTS_PER_LOOK)
  const times: number[] = []
  const counts = new Map<string, Map<number, number>>()
  let isWhole = true
  for await (const { time, type, version } of store.readAll({
    ...filterIn(input),
    direction: 'backwards',
    signal,
  })) {
    if (times.length === budget) {
      isWhole = false
      break
    }
    times.push(Date.parse(time))
    let versions = counts.get(type)
    if (!versions) counts.set(type, (versions = new Map<number, number>()))
    versions.set(version, (versions.get(version) ?? 0) + 1)
  }
  const types = [...counts]
    .map(([type, counted]) => {
      const versions = [...counted].map(([version, events]) => ({ version, events }))
      const events = versions.reduce((sum, { events }) => sum + events, 0)
      return { type, events, versions: versions.sort((a, b) => a.version - b.version) }
    })
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
