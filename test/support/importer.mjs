// Imports a file of events into a SQLite store: node importer.mjs LINES STORE AFTER. It tells of each batch, and runs the built package.

import { createReadStream } from 'node:fs'
import { eventsInArchive, importEvents } from 'mneme/history'
import { sqliteStore } from 'mneme/sqlite'

const [lines, file, after = ''] = process.argv.slice(2)

async function* input() {
  for await (const event of eventsInArchive(createReadStream(lines))) if (event.position > after) yield event
}

const store = await sqliteStore(file)
let batches = 0
const report = await importEvents(store, input(), {
  onProgress: ({ position }) => {
    console.log(`position ${position}`)
    console.log(`batch ${++batches}`)
  },
})
await store.close()
console.log(JSON.stringify(report))
