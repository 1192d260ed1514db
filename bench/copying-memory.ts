import { copyHistory } from 'mneme/history'
import { sqliteStore } from 'mneme/sqlite'

// A process that does nothing but copy one file into another: by how many bytes it grows meanwhile.
const [source, target] = process.argv.slice(2) as [string, string]
const [from, to] = [await sqliteStore(source), await sqliteStore(target)]
const before = process.memoryUsage.rss()
let most = before
await copyHistory(from, to, {
  verify: true,
  onProgress: () => {
    most = Math.max(most, process.memoryUsage.rss())
  },
})
await Promise.all([from.close(), to.close()])
process.stdout.write(String(most - before))
