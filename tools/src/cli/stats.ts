import type { Work } from './command.ts'

interface TypeCount {
  readonly type: string
  readonly category: string
  events: number
  /** Characters of the data as JSON. */
  characters: number
  first: string
  last: string
}

/** Counts the events of each category and type. Reads the whole store. */
export async function stats({ store, terminal, signal }: Work): Promise<void> {
  const counts = new Map<string, TypeCount>()
  for await (const { type, stream, time, data } of store.readAll({ signal })) {
    const category = stream.split('-', 1)[0]!
    const key = JSON.stringify([category, type])
    let count = counts.get(key)
    if (!count)
      counts.set(key, (count = { category, type, events: 0, characters: 0, first: time, last: time }))
    count.events++
    if (data !== undefined) count.characters += JSON.stringify(data).length
    count.last = time
  }
  const rows = [...counts.values()].sort((a, b) => b.events - a.events)
  await terminal.table(rows, [
    { name: 'events', of: ({ events }) => String(events), isRight: true },
    { name: 'characters', of: ({ characters }) => String(characters), isRight: true },
    { name: 'first', of: ({ first }) => first, minWidth: 100 },
    { name: 'last', of: ({ last }) => last, minWidth: 100 },
    { name: 'category', of: ({ category }) => category },
    { name: 'type', of: ({ type }) => type },
  ])
}
