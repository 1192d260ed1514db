// What other processes do in the tests: node worker.mjs TASK DRIVER FILE ...
// It runs the built package, as a user's process would.

import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'
import { sqliteStore } from 'mneme/sqlite'

const [task, driverName, file, ...args] = process.argv.slice(2)

const driver = driverOf(driverName)
const tasks = { open, append, hold, busy, light, endless, exit }
await tasks[task](...args)

/** Opens, says the identity, closes. */
async function open() {
  const store = await sqliteStore(file, { driver })
  say(JSON.stringify(await store.identity()))
  await store.close()
}

/** Several callers append to the same few streams, retrying conflicts; says what was acknowledged. */
async function append(callers, rounds, streams) {
  const store = await sqliteStore(file, { driver })
  const ledger = []
  await inParallel(Number(callers), async (caller) => {
    for (let i = 0; i < Number(rounds); i++) {
      const stream = `s-${(caller + i) % Number(streams)}`
      for (;;) {
        const head = await store.head(stream)
        const id = randomUUID()
        try {
          const expected = head
          const { position } = await store.append({ stream, expected, events: [{ ...happened(i), id }] })
          ledger.push([stream, expected === 'none' ? 0 : expected + 1, id, position])
          break
        } catch (error) {
          if (error.code !== 'CONFLICT') throw error
        }
      }
    }
  })
  await store.close()
  say(JSON.stringify(ledger))
}

/** Holds SQLite's write lock from `hold` until it is told anything. */
async function hold() {
  const database = driver(file)
  database.exec('BEGIN IMMEDIATE')
  say('held')
  await new Promise((resolve) => process.stdin.once('data', resolve))
  database.exec('ROLLBACK')
  database.close()
  process.exit(0)
}

/** A busy writer: 64 callers in a loop, until told to stop; says how much it did and how late its timers were. */
async function busy(name) {
  const store = await sqliteStore(file, { driver, busyTimeout: 20_000 })
  let isOver = false
  process.stdin.once('data', () => (isOver = true))
  const late = timers()
  let appended = 0
  say('busy')
  await inParallel(64, async (caller) => {
    for (let i = 0; !isOver; i++) {
      await store.append({ stream: `${name}-${caller}`, events: [happened(i)] })
      appended++
    }
  })
  const lateness = late()
  await store.close()
  say(JSON.stringify({ appended, lateness }))
  process.exit(0)
}

/** Appends now and then; says how long each took, and how late its timers were. */
async function light(rounds) {
  const store = await sqliteStore(file, { driver, busyTimeout: 20_000 })
  const waits = []
  const late = timers()
  for (let i = 0; i < Number(rounds); i++) {
    const started = performance.now()
    await store.append({ stream: 'light', events: [happened(i)] })
    waits.push(performance.now() - started)
    await delay(5 + Math.random() * 10)
  }
  const lateness = late()
  await store.close()
  say(JSON.stringify({ waits, lateness }))
}

/** Appends for ever, to be killed; says of each append that it begins, and that it was acknowledged. */
async function endless(round) {
  const store = await sqliteStore(file, { driver })
  say('endless')
  await inParallel(8, async (caller) => {
    const stream = `r${round}-${caller}`
    let expected = 'none'
    for (;;) {
      // One to three events, so that half an append would be seen.
      const events = Array.from({ length: 1 + Math.floor(Math.random() * 3) }, (_, i) => ({
        ...happened(i, Math.random() < 0.1 ? 20_000 : 50),
        id: randomUUID(),
      }))
      say(`b ${stream} ${events.map(({ id }) => id).join()}`)
      const { revisions } = await store.append({ stream, expected, events })
      expected = revisions.get(stream)
      say(`a ${stream} ${events.map(({ id }) => id).join()}`)
    }
  })
}

/** Ends by itself when the store is closed. */
async function exit() {
  const store = await sqliteStore(file, { driver })
  await store.append({ stream: 's', events: [happened(0)] })
  for await (const event of store.readAll()) say(event.stream)
  await store.close()
}

function driverOf(name) {
  if (name === 'default') return undefined
  if (name === 'node:sqlite') {
    const { DatabaseSync } = process.getBuiltinModule('node:sqlite')
    return (path) => new DatabaseSync(path)
  }
  const Database = createRequire(import.meta.url)(name)
  return (path) => new Database(path)
}

function happened(n, size = 10) {
  return { type: 'Happened', data: { n, text: 'x'.repeat(size) } }
}

/** Measures how late a timer of 5 ms is. */
function timers() {
  const late = []
  let due = performance.now() + 5
  let timer
  const fired = () => {
    late.push(performance.now() - due)
    due = performance.now() + 5
    timer = setTimeout(fired, 5)
  }
  timer = setTimeout(fired, 5)
  return () => {
    clearTimeout(timer)
    return late
  }
}

function inParallel(count, run) {
  return Promise.all(Array.from({ length: count }, (_, i) => run(i)))
}

function say(line) {
  process.stdout.write(`${line}\n`)
}
