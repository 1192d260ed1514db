// One of several processes that append to the same streams and delete them: node deleter.mjs URL NUMBER STREAMS
// It runs the built package, as a user's process would.

import { defineAggregate, defineCommand, event, execute, openStore } from 'mneme'

const [url, number, streams] = process.argv.slice(2)
const Counter = defineAggregate({
  name: 'Counter',
  events: { Counted: event() },
  initial: () => ({ count: 0 }),
  apply: { Counted: ({ count }) => ({ count: count + 1 }) },
})
const count = defineCommand({
  reads: (id) => Counter(id),
  handle: () => Counter.events.Counted(),
})

const store = await openStore(url)
console.log('ready')
await new Promise((resolve) => process.stdin.once('data', resolve))

const retry = { maxRetries: 1_000, maxDelay: 20 }
const told = { appended: [], deleted: [] }

/** Appends to a stream again and again, until it is deleted; deletes it after a while if it is one of this process's. */
async function work(n) {
  const stream = Counter(String(n))
  const deletesAfter = n % 8 === Number(number) || n % 8 === (Number(number) + 1) % 8 ? 5 + n : Infinity
  for (let round = 0; ; round++) {
    try {
      if (round >= deletesAfter) {
        const { position } = await store.delete(stream)
        told.deleted.push([stream.stream, position])
        continue
      }
      const expected = ['any', 'exists', 'none'][round % 5]
      const { position } =
        expected === undefined
          ? await execute(store, count(String(n)), { retry })
          : await store.append({ stream, events: [Counter.events.Counted()], expected })
      told.appended.push([stream.stream, position])
    } catch (error) {
      if (error.code === 'STREAM_DELETED') return
      if (error.code !== 'CONFLICT') throw error
    }
  }
}

await Promise.all(Array.from({ length: Number(streams) }, (_, n) => work(n)))
await store.close()
console.log(JSON.stringify(told))
process.exit(0)
