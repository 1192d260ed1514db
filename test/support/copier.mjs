// Copies a SQLite store into another one: node copier.mjs FROM TO. It tells of each batch, and runs the built package.

import { copyHistory } from 'mneme/history'
import { sqliteStore } from 'mneme/sqlite'

const [from, to] = await Promise.all(process.argv.slice(2, 4).map((file) => sqliteStore(file)))
let batches = 0
const { appended, read } = await copyHistory(from, to, {
  onProgress: () => {
    console.log(`batch ${++batches}`)
  },
})
await from.close()
await to.close()
console.log(JSON.stringify({ appended, read }))
