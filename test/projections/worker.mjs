// What other processes do in the tests: node worker.mjs TASK OPTIONS
// It runs the built package, as a user's process would.

import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { defineAggregate, event } from 'mneme'
import { postgresStore, postgresTarget } from 'mneme/postgres'
import { defineProjection, runProjections } from 'mneme/projections'
import { sqliteStore, sqliteTarget } from 'mneme/sqlite'

const [task, json] = process.argv.slice(2)
const options = JSON.parse(json)

const Account = defineAggregate({
  name: 'Account',
  events: { Opened: event(), Deposited: event() },
  initial: () => ({}),
  apply: { Opened: (state) => state, Deposited: (state) => state },
})
const noise = { type: 'Noise', data: {} }

/** Told something, by a line on its input. */
const told = { go: false, stop: false }
/** Deposits on which the first process that handles one halts itself: see `halts`. */
const HALT_IN_BATCH = 999_983
const HALT_AFTER_BATCH = 999_979
process.stdin.on('data', (chunk) => {
  for (const word of String(chunk).trim().split('\n')) {
    if (word === 'ping') say('pong')
    else told[word] = true
  }
})

/** Never notified: a wait on it is a synchronous sleep. */
const BELL = new Int32Array(new SharedArrayBuffer(4))

const tasks = { project, append }
await tasks[task]()

/**
 * Keeps the totals of accounts, until it is told to stop. It waits to be told to go, so that its start takes no time of
 * the test. With a folder `halts`, a certain deposit halts the process that is first to handle it.
 */
async function project() {
  const { store: location, lease, busyTimeout = 5_000, onNewVersion, workers = 1 } = options
  const { version = 1, isReady = false } = options
  const handled = options.ledger === undefined ? undefined : openSync(options.ledger, 'a')
  const store = await open(location, busyTimeout)
  const running = []
  const failures = {}
  const onFailure = ({ code, message }) => {
    const failure = `${code ?? ''} ${message}`
    failures[failure] = (failures[failure] ?? 0) + 1
    say(`failed ${failure}`)
  }
  const haltAfterBatch = () => {
    void running[0].caughtUp().then(() => halt('after-batch'))
  }
  // Each has a target of its own: they share the database only.
  const projections = Array.from({ length: workers }, () => totals(version, handled, haltAfterBatch))
  say('ready')
  await until(() => isReady || told.go)
  for (const { projection } of projections) {
    const settings = { lease, onNewVersion, onFailure }
    running.push(await retried(() => runProjections(store, [projection], settings)))
  }
  say('running')
  await until(() => told.stop)
  for (const one of running) await one.stop()
  for (const { target } of projections) await target.close()
  await store.close()
  say(JSON.stringify({ failures }))
  process.exit(0)
}

/** Totals of accounts: the chain is right only if each event counts once, in the log's order. */
function totals(version, handled, haltAfterBatch) {
  const { target: location, busyTimeout = 5_000, slow = 0, tables = ['totals'] } = options
  const isPostgres = location.startsWith('postgres')
  const target = isPostgres
    ? postgresTarget({ connectionString: location, max: 3 }, { connectTimeout: 10_000 })
    : sqliteTarget(location, { busyTimeout, synchronous: 'normal' })
  const run = (tx, sql, values = []) =>
    isPostgres ? tx.query(sql, values) : tx.prepare(sql.replace(/\$\d/g, '?')).run(...values)
  const isSlow = () => slow > 0 && Math.random() < 0.02
  function handle({ stream, data: { amount } }, tx, { tables }) {
    if (handled !== undefined) writeSync(handled, '.')
    const write = () =>
      run(
        tx,
        `INSERT INTO ${tables.totals} AS t (account, events, balance, chain) VALUES ($1, 1, $2, $3)
          ON CONFLICT (account) DO UPDATE SET events = t.events + 1, balance = t.balance + excluded.balance,
            chain = (t.chain * 31 + excluded.chain) % 1000003`,
        [stream, amount * version, amount],
      )
    const haltIfAsked = () => {
      if (amount === HALT_AFTER_BATCH && isFirst('after-batch')) haltAfterBatch()
      if (amount === HALT_IN_BATCH && isFirst('in-batch')) halt('in-batch')
    }
    if (!isPostgres) {
      write()
      if (isSlow()) Atomics.wait(BELL, 0, 0, Math.random() * slow)
      return haltIfAsked()
    }
    return write()
      .then(() => isSlow() && delay(Math.random() * slow))
      .then(haltIfAsked)
  }
  /** The same of several events, one after the other. */
  function handlePage(events, tx, context) {
    if (!isPostgres) return void events.forEach((one) => handle(one, tx, context))
    return events.reduce((before, one) => before.then(() => handle(one, tx, context)), Promise.resolve())
  }
  const projection = defineProjection({
    ...{ name: 'totals', version, into: target, tables },
    retry: { maxRetries: 5, baseDelay: 5, minDelay: 1 },
    setup: (tx, { tables }) =>
      run(
        tx,
        `CREATE TABLE ${tables.totals} (
          account TEXT PRIMARY KEY, events BIGINT NOT NULL, balance BIGINT NOT NULL, chain BIGINT NOT NULL)`,
      ),
    ...(options.isOfPages ? { onPage: handlePage } : { on: { 'Account.Deposited': handle } }),
    from: [{ Deposited: Account.events.Deposited }],
  })
  return { projection, target }
}

/** Whether this process, of all that share the folder, is the first to come here. */
function isFirst(place) {
  if (options.halts === undefined) return false
  try {
    closeSync(openSync(join(options.halts, place), 'wx'))
    return true
  } catch {
    return false
  }
}

function halt(place) {
  say(`halted ${place}`)
  process.kill(process.pid, 'SIGSTOP')
}

/**
 * Deposits on a few accounts until it is told to stop: mostly one event, now and then so many that projections fall
 * behind; with events between them that no projection handles. Says how many deposits were acknowledged.
 */
async function append() {
  const { store: location, pause, burst = 500, busyTimeout = 20_000 } = options
  const store = await open(location, busyTimeout)
  let deposited = 0
  say('appending')
  while (!told.stop) {
    const count = Math.random() < 0.03 ? Math.ceil(Math.random() * burst) : 1
    const deposits = Array.from({ length: count }, () =>
      Account.events.Deposited({ amount: Math.ceil(Math.random() * 1_000) }),
    )
    await store.append({ stream: Account(`a${Math.floor(Math.random() * 5)}`), events: deposits })
    deposited += count
    if (Math.random() < 0.2) await store.append({ stream: 'noise', events: [noise] })
    await delay(Math.random() * pause)
  }
  await store.close()
  say(JSON.stringify({ deposited }))
  process.exit(0)
}

function open(location, busyTimeout) {
  return location.startsWith('postgres')
    ? postgresStore({ connectionString: location, max: 2 }, { busyTimeout })
    : sqliteStore(location, { busyTimeout, synchronous: 'normal' })
}

/** Retries what fails for the moment. */
async function retried(attempt) {
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (error.isRetryable !== true) throw error
      say(`failed ${error.code} ${error.message}`)
      await delay(20)
    }
  }
}

async function until(isSo) {
  while (!isSo()) await delay(1)
}

/** Synchronously, so that the line is written even if the process is killed next. */
function say(line) {
  writeSync(1, `${line}\n`)
}
