// What @rotorsoft/act does for bench/reactions.ts: node act-reactions.mjs PACKAGES FILE EVENTS STREAMS KIND
// Each event is followed by one action on another stream: at once, or (KIND is 'defer') when it is due. One static target,
// drained in one pass: with several targets at once, act-sqlite's commits collide with SQLITE_BUSY, and it is slower.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { setTimeout as delay } from 'node:timers/promises'

const [packages, file, events, streams, kind] = process.argv.slice(2)
const require = createRequire(`${packages}/`)
const load = (name) => import(pathToFileURL(require.resolve(name)).href)
const { act, state, store } = (await load('@rotorsoft/act')).default ?? (await load('@rotorsoft/act'))
const { SqliteStore } = await load('@rotorsoft/act-sqlite')
const { z } = await load('zod')

const actor = { id: '1', name: 'bench' }
const counting = (name, action, event) =>
  state({ [name]: z.object({ count: z.number() }) })
    .init(() => ({ count: 0 }))
    .emits({ [event]: z.object({ total: z.number() }) })
    .patch({ [event]: (_, { count }) => ({ count: count + 1 }) })
    .on({ [action]: z.object({ total: z.number() }) })
    .emit(({ total }) => [event, { total }])
    .build()

store(new SqliteStore({ url: `file:${file}` }))
await store().seed()
const due = Date.now() + (kind === 'defer' ? Number(process.argv[7]) : 0)
const on = act()
  .withState(counting('Order', 'place', 'Placed'))
  .withState(counting('Shipping', 'ship', 'Shipped'))
  .on('Placed')
const app = (kind === 'defer' ? on.defer(() => ({ at: new Date(due) })) : on)
  .do(async function ship(event, _stream, app) {
    const target = { stream: `Shipping-${event.stream}`, actor }
    await app.do('ship', target, { total: event.data.total }, event)
  })
  .to('shipping')
  .build()

for (let i = 0; i < Number(events); i++) {
  await app.do('place', { stream: `Order-${String(i % Number(streams))}`, actor }, { total: i })
}
const drain = () => app.drain({ streamLimit: 1, eventLimit: 100_000, leaseMillis: 600_000 })
await app.correlate({ after: -1, limit: 100_000 })
if (kind === 'defer') {
  await drain()
  if (Date.now() >= due) throw new Error('the events were appended too late')
  await delay(due - Date.now())
}
const shipped = async () => {
  let count = 0
  await store().query(() => void count++, { names: ['Shipped'] })
  return count
}
// A deferred one is measured from its due time on: act's own timer may have begun before this program goes on.
const begin = kind === 'defer' ? due : Date.now()
while ((await shipped()) < Number(events)) {
  const { acked } = await drain()
  if (acked.length === 0) await delay(1)
}
console.log(JSON.stringify({ reactions: Number(events), seconds: (Date.now() - begin) / 1_000 }))
process.exit(0)
