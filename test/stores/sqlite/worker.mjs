// What other processes do in the tests: node worker.mjs TASK DRIVER FILE ...
// It runs the built package, as a user's process would.

import { randomUUID } from 'node:crypto'
import { Buffer } from 'node:buffer'
import fs from 'node:fs'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'
import { sqliteStore } from 'mneme/sqlite'

const [task, driverName, file, ...args] = process.argv.slice(2)

const driver = driverOf(driverName)
const tasks = { open, append, hold, busy, light, endless, exit, drip, dying, idle, unwatched, write }
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

/** Appends one event after the other, with a pause between; says when each was acknowledged. */
async function drip(events, pause) {
  const store = await sqliteStore(file, { driver })
  const times = []
  for (let n = 0; n < Number(events); n++) {
    await store.append({ stream: 'drip', events: [happened(n)] })
    times.push(performance.timeOrigin + performance.now())
    await delay(Number(pause))
  }
  await store.close()
  say(JSON.stringify(times))
}

/** Appends, and dies between the commit and the signal. */
async function dying() {
  const store = await sqliteStore(file, { driver })
  const { writeSync } = fs
  fs.writeSync = (descriptor, ...rest) => {
    if (descriptor > 2) process.kill(process.pid, 'SIGKILL')
    return writeSync(descriptor, ...rest)
  }
  syncBuiltinESMExports()
  await store.append({ stream: 'dying', events: [happened(0)] })
}

/** Many subscribers wait in vain for two polls; says which statements that ran, and how many files were watched. */
async function idle(subscribers) {
  const statements = []
  const counting = (path) => {
    const database = driver(path)
    const prepare = database.prepare.bind(database)
    database.prepare = (sql) => {
      const statement = prepare(sql)
      for (const method of ['run', 'get', 'all']) {
        const call = statement[method].bind(statement)
        statement[method] = (...values) => {
          statements.push(sql)
          return call(...values)
        }
      }
      return statement
    }
    return database
  }
  const store = await sqliteStore(file, { driver: counting })
  const subscriptions = Array.from({ length: Number(subscribers) }, () => store.subscribe({ from: 'end' }))
  const ends = subscriptions.map((subscription) => subscription.next())
  await Promise.all(subscriptions.map((subscription) => subscription.caughtUp()))
  const watchers = () => process.getActiveResourcesInfo().filter((name) => name.startsWith('FSEvent')).length
  const watched = watchers()
  // Each one that has caught up is followed by a last look.
  await delay(50)
  statements.length = 0
  while (statements.length < 2) await delay(5)
  const ran = statements.slice(0, 2)
  await store.close()
  await Promise.allSettled(ends)
  // A watch that was closed is gone some turns of the event loop later.
  for (let turns = 0; watchers() > 0 && turns < 1_000; turns++) await delay(1)
  say(JSON.stringify({ statements: ran, watched, left: watchers() }))
}

/** Follows so many events while no file can be watched; says that each has come. */
async function unwatched(events) {
  fs.watch = () => {
    throw Object.assign(new Error('ENOSPC: System limit for number of file watchers reached'), {
      code: 'ENOSPC',
    })
  }
  syncBuiltinESMExports()
  const store = await sqliteStore(file, { driver })
  const subscription = store.subscribe({ from: 'end' })
  let seen = 0
  void subscription.caughtUp().then(() => say('following'))
  for (let next = await subscription.next(); !next.done; next = await subscription.next()) {
    say(`event ${seen++}`)
    if (seen === Number(events)) break
  }
  await store.close()
}

/** Several callers append to streams of their own until they are told to stop, or killed. */
async function write(name, callers) {
  const store = await sqliteStore(file, { driver, busyTimeout: 20_000, synchronous: 'normal' })
  let isOver = false
  process.stdin.once('data', () => (isOver = true))
  say('writing')
  await inParallel(Number(callers), async (caller) => {
    for (let i = 0; !isOver; i++) {
      const events = Array.from({ length: Math.random() < 0.01 ? 200 : 1 }, () => happened(i))
      await store.append({ stream: `${name}-${caller}`, events })
      await delay(Math.random() * 10)
    }
  })
  await store.close()
  process.exit(0)
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

/** Written when it returns, also if the process is killed next. */
function say(line) {
  const bytes = Buffer.from(`${line}\n`)
  for (let written = 0; written < bytes.length;) {
    try {
      written += fs.writeSync(1, bytes, written)
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
    }
  }
}
