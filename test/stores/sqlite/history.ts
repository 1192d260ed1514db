import type { EventStore, Recorded } from 'mneme'

/** Everything that is stored, after a check that revisions and positions are as promised (R1). */
export async function historyOf(store: EventStore): Promise<Recorded[]> {
  const events: Recorded[] = []
  const heads = new Map<string, number>()
  const ids = new Set<string>()
  for await (const event of store.readAll()) {
    const previous = events.at(-1)
    if (previous && previous.position >= event.position) throw new Error('positions do not rise')
    if (event.revision !== (heads.get(event.stream) ?? -1) + 1) throw new Error(`a gap in ${event.stream}`)
    if (ids.has(event.id)) throw new Error(`${event.id} is there twice`)
    heads.set(event.stream, event.revision)
    ids.add(event.id)
    events.push(event)
  }
  return events
}

/** An event with an id of the test's own. */
export function happened(n = 0, size = 0): { type: string; data: { n: number; text: string }; id: string } {
  return { type: 'Happened', data: { n, text: 'x'.repeat(size) }, id: crypto.randomUUID() }
}
