// One of several processes that claim the same values: node claimer.mjs URL OWNER VALUES SECRET...
// It runs the built package, as a user's process would.

import { defineClaim, defineCommand, openStore, tryExecute } from 'mneme'

const [url, owner, values, ...secret] = process.argv.slice(2)
const Seat = defineClaim({ name: 'Seat', of: (value) => value, secret })
const claim = defineCommand({
  reads: (value) => ({ seat: Seat(value) }),
  handle: (_, __, { on }) => on.seat.claim(owner),
})
const release = defineCommand({
  reads: (value) => ({ seat: Seat(value) }),
  handle: (_, __, { on }) => on.seat.release(owner),
})

const store = await openStore(url)
console.log('ready')
await new Promise((resolve) => process.stdin.once('data', resolve))

const options = { retry: { maxRetries: 1_000, maxDelay: 20 } }
const won = []
await Promise.all(
  Array.from({ length: Number(values) }, async (_, n) => {
    const value = `v${n}`
    for (let round = 0; round < 2; round++) {
      const outcome = await tryExecute(store, claim(value), options)
      if (!outcome.ok) continue
      won.push(value)
      if (n % 2) await tryExecute(store, release(value), options)
    }
  }),
)
await store.close()
console.log(JSON.stringify(won))
process.exit(0)
