import { parseArgs } from 'node:util'
import { openStore } from 'mneme'
import { serveFastify } from './fastify.ts'
import { serveHono } from './hono.ts'
import { testPayments } from './payments.ts'
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
const server = await serve(routes, Number(values.port))
console.log(`http://localhost:${String(server.port)}`)

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void server.close()
    void store.close() // ends the streams of events
  })
}
