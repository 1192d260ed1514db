import { memoryStore } from 'mneme/memory'

import { Account, NOTE } from './account.ts'
import { compare, seconds, type Figure } from './measure.ts'

const APPENDS = 100_000

/** The memory store against a Map of arrays that keeps the same. */
export async function* memoryFigures(): AsyncGenerator<Figure> {
  yield await compare({
    name: 'append in memory',
    to: 'a bare Map of arrays keeping the same',
    goal: 0.5,
    operations: [APPENDS, APPENDS],
    ours: () => {
      const store = memoryStore()
      return seconds(async () => {
        for (let i = 0; i < APPENDS; i++) {
          const events = [Account.events.Deposited({ amount: i, note: NOTE })]
          await store.append({ stream: 'Account-a', events, expected: i === 0 ? 'none' : i - 1 })
        }
      })
    },
    theirs: () => {
      const streams = new Map<string, object[]>()
      return seconds(async () => {
        for (let i = 0; i < APPENDS; i++)
          await appendToMap(streams, 'Account-a', { amount: i, note: NOTE }, i)
      })
    },
  })
}

/** What a program of its own would do: an event with an id, a time and its data as text, checked and pushed. */
function appendToMap(
  streams: Map<string, object[]>,
  stream: string,
  data: object,
  revision: number,
): Promise<void> {
  let events = streams.get(stream)
  if (!events) streams.set(stream, (events = []))
  if (events.length !== revision) return Promise.reject(new Error('conflict'))
  const id = crypto.randomUUID()
  events.push({
    id,
    stream,
    revision,
    type: 'Account.Deposited',
    time: new Date().toISOString(),
    data: JSON.stringify(data),
  })
  return Promise.resolve()
}
