// What other processes do in the tests: node program.mjs TASK CONNECTION DEADLINE
// It runs the built package, as a user's process would, and has to end by itself.

import { randomUUID } from 'node:crypto'
import process from 'node:process'
import { kurrentdbStore } from 'mneme/kurrentdb'

const [task, connection, deadline] = process.argv.slice(2)
const say = (line) => process.stdout.write(`${line}\n`)
const told = () => new Promise((resolve) => process.stdin.once('data', resolve))
process.on('unhandledRejection', (reason) => {
  say(`unhandled ${reason}`)
  process.exit(3)
})

const store = await kurrentdbStore(connection, { deadline: Number(deadline) })
const stream = `s${randomUUID()}`
const events = Array.from({ length: 300 }, (_, n) => ({ type: 'Happened', data: { n } }))
await store.append({ stream, events })
await store.append([
  { stream, events: [{ type: 'Happened', data: {} }] },
  { stream: `${stream}!`, events: [{ type: 'Happened', data: {} }] },
])
let read = 0
for await (const { revision } of store.read(stream)) if ((read = revision + 1) === 100) break
for await (const { revision } of store.readAll({ streams: [stream] }))
  if ((read = revision + 101) === 200) break
// What was asked for beyond that is read to its end, which the driver may be 40 ms late to tell.
await new Promise((resolve) => setTimeout(resolve, 300))
say(`read ${read}`)
if (task !== 'plainly') {
  await told()
  await store.append({ stream, events: events.slice(0, 1) }).catch((error) => say(`append ${error.code}`))
  await store.head(stream).catch((error) => say(`head ${error.code}`))
}
await store.close()
say('closed')
process.stdin.unref()
