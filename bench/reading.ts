import { sqliteStore } from 'mneme/sqlite'

/**
 * Run as a process of its own, on a file full of events: reads them all, and sends how many bytes more than at
 * the start were resident at the most.
 */
const store = await sqliteStore(process.argv[2]!)
let count = 0
for await (const event of store.readAll({ limit: 1_000 })) count += event.revision >= 0 ? 1 : 0
globalThis.gc?.()
const start = process.memoryUsage.rss()
let most = start
count = 0
for await (const event of store.readAll()) {
  if (event.revision >= 0 && ++count % 1_000 === 0) most = Math.max(most, process.memoryUsage.rss())
}
await store.close()
process.send?.({ count, bytes: most - start })
