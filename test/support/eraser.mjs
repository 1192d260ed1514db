// One of several programs that store personal data of one subject while it is erased: node eraser.mjs EVENTS KEYS NAME ROLE.
// ROLE 'erases' erases in the middle, 'dies' is killed between the two steps of an erasure. It runs the built package.

import { defineAggregate, defineCommand, event, execute, subject } from 'mneme'
import { eraseSubject, isErased, keyRing, reveal, wrappingKey } from 'mneme/erasure'
import { sqliteKeys, sqliteStore } from 'mneme/sqlite'

const [events, keyFile, name, role] = process.argv.slice(2)
const Person = defineAggregate({
  name: 'Person',
  events: { Written: event().personal({ text: ({ id }) => subject('person', id) }) },
  initial: () => ({ texts: [] }),
  apply: { Written: ({ texts }, { text }) => ({ texts: [...texts, text] }) },
})
const write = defineCommand({
  reads: ({ id }) => Person(id),
  handle: (_state, input) => Person.events.Written(input),
})
const keys = sqliteKeys(keyFile)
const ring = keyRing({ keys, wrap: wrappingKey('k', new Uint8Array(32)), secret: 'a secret of the race' })
const store = await sqliteStore(events, { personal: ring })
console.log('ready')
await new Promise((resolve) => process.stdin.once('data', resolve))

const told = { written: 0, refused: 0, revealed: 0, erased: 0 }
for (let i = 0; i < 20; i++) {
  if (i === 7 && role === 'erases') await eraseSubject(store, subject('person', 'a'), { reason: name })
  if (i === 5 && role === 'dies') {
    await ring.destroy(ring.hashOf(subject('person', 'a')), new Date().toISOString())
    process.kill(process.pid, 'SIGKILL')
  }
  try {
    const { state } = await execute(store, write({ id: 'a', text: `${name}-${i}` }), {
      retry: { maxRetries: 1_000 },
    })
    told.written++
    const last = await reveal(store, state.texts.at(-1))
    if (isErased(last)) told.erased++
    else told.revealed++
    // Once it was erased, nothing brings it back.
    if (told.erased > 0 && !isErased(last)) throw new Error('readable after it was erased')
  } catch (error) {
    if (error.code !== 'SUBJECT_ERASED') throw error
    told.refused++
  }
}
await store.close()
await keys.close()
console.log(JSON.stringify(told))
process.exit(0)
