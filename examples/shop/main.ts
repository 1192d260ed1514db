import { parseArgs } from 'node:util'
import { openStore } from 'mneme'
import { postgresTarget } from 'mneme/postgres'
import { runReactions } from 'mneme/reactions'
import { sqliteTarget } from 'mneme/sqlite'
import { serveFastify } from './fastify.ts'
import { serveHono } from './hono.ts'
import { testMails } from './mails.ts'
import { testPayments } from './payments.ts'
import { fulfilment, shippingMails } from './reactions.ts'
import { shop } from './service.ts'

const { values } = parseArgs({
  options: {
    store: { type: 'string', default: 'sqlite:shop.db' },
    port: { type: 'string', default: '3000' },
    fastify: { type: 'boolean', default: false },
  },
})

const log = (error: unknown) => {
  console.error(error)
}
const store = await openStore(values.store)
const routes = shop(store, testPayments(), log)
const serve = values.fastify ? serveFastify : serveHono
// Beside the events: in the same file or database, or in a file of its own.
const state = values.store.startsWith('postgres')
  ? postgresTarget(values.store)
  : sqliteTarget(values.store.startsWith('sqlite:') ? values.store.slice('sqlite:'.length) : 'shop-state.db')
await runReactions(store, [fulfilment({ minutes: 30 }), shippingMails(testMails())], {
  state,
  onFailure: log,
})
const server = await serve(routes, Number(values.port))
console.log(`http://localhost:${String(server.port)}`)

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void server.close()
    void store.close().then(() => state.close()) // ends the streams of events, and the reactions
  })
}
