// A worker of reactions that dies: node worker.mjs OPTIONS
// It runs the built package, as a user's process would. It kills itself at one of its steps: before or after a transaction
// in the database of its state, or an append to the store. Its clock may be wrong.

import { tracingChannel } from 'node:diagnostics_channel'
import { writeSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

const options = JSON.parse(process.argv[2])

/** How far the clock of this process is ahead, in milliseconds. */
let ahead = options.ahead ?? 0
const realNow = Date.now
Date.now = () => realNow() + ahead

const { defineAggregate, defineCommand, event } = await import('mneme')
const { kurrentdbStore } = await import('mneme/kurrentdb')
const { postgresStore, postgresTarget } = await import('mneme/postgres')
const { after, cancelTimer, defineReaction, runReactions } = await import('mneme/reactions')
const { sqliteStore, sqliteTarget } = await import('mneme/sqlite')

let isToStop = false
let hasGone = options.isReady ?? false
process.stdin.on('data', (chunk) => {
  for (const word of String(chunk).trim().split('\n')) {
    if (word === 'go') hasGone = true
    else if (word === 'stop') isToStop = true
    else if (word.startsWith('jump ')) ahead += Number(word.slice(5))
  }
})

/** Steps that are left before this process dies. */
let left = options.steps ?? Infinity
function step() {
  if (--left > 0) return
  say('died')
  process.kill(process.pid, 'SIGKILL')
}

const Order = defineAggregate({
  name: 'Order',
  events: { Placed: event(), Paid: event() },
  initial: () => ({}),
  apply: { Placed: (state) => state, Paid: (state) => state },
})
const Effect = defineAggregate({
  name: 'Effect',
  events: { Done: event() },
  initial: () => ({}),
  apply: { Done: (state) => state },
})
// It looks at nothing: whatever comes twice is there twice.
const note = defineCommand({
  name: 'effect.note',
  reads: ({ order }) => Effect(order),
  handle: (_, { what, cause, due = null, version }) => Effect.events.Done({ what, cause, due, version }),
})

const { version = 1, timeToPay, isOneSequence = false } = options
const reaction = defineReaction({
  name: 'fulfilment',
  version,
  from: [Order],
  commands: [note],
  startAt: 'start',
  ...(isOneSequence && { sequence: () => 'all' }),
  on: {
    'Order.Placed': ({ id, stream, time, data: { pay = timeToPay } }) => {
      const order = Order.idOf(stream)
      const due = Date.parse(time) + pay
      const calls = isOneSequence ? [] : [note({ order, what: 'placed', cause: id, version })]
      const expire = note({ order, what: 'expired', cause: id, due, version })
      // The second version does more. What the first one has begun, it ends as the first one.
      if (version > 1) calls.push(note({ order, what: 'placed too', cause: id, version }))
      return [...calls, after(pay, expire, { timer: id })]
    },
    'Order.Paid': ({ id, stream, data: { placed } }) => [
      cancelTimer(placed),
      note({ order: Order.idOf(stream), what: 'paid', cause: id, version }),
    ],
  },
  retry: { maxRetries: 1_000, baseDelay: 5, minDelay: 1, maxDelay: 200 },
})

const store = await open(options.store)
const state = openState(options.state)
for (const name of ['transaction', 'change']) {
  const change = state[name]
  state[name] = async (...given) => {
    step()
    const done = await change.apply(state, given)
    step()
    return done
  }
}
tracingChannel('mneme.append').subscribe({ start: step, asyncEnd: step })

say('ready')
while (!hasGone) await delay(1)
const failures = {}
const onFailure = ({ code, message }) => {
  const failure = `${code ?? ''} ${message}`
  failures[failure] = (failures[failure] ?? 0) + 1
  if (options.isLoud) say(`failed ${failure}`)
}
let running
while (!running) {
  try {
    running = await runReactions(store, [reaction], { state, lease: options.lease, onFailure })
  } catch (error) {
    if (error.isRetryable !== true) throw error
    await delay(20)
  }
}
say('running')
const atFirst = process.memoryUsage().rss
let most = atFirst
while (!isToStop) {
  most = Math.max(most, process.memoryUsage().rss)
  await delay(10)
}
if (options.isLast || options.isCatchingUp) await running.caughtUp()
if (options.isLast) {
  while ((await reaction.in(state).timers()).length > 0) {
    most = Math.max(most, process.memoryUsage().rss)
    await delay(50)
  }
}
const [status] = await running.status()
await running.stop()
await store.close()
await state.close()
say(JSON.stringify({ failures, grown: most - atFirst, state: status.state, failure: status.failure }))
process.exit(0)

function open(location) {
  if (location.startsWith('postgres')) return postgresStore({ connectionString: location, max: 4 })
  if (location.startsWith('kurrentdb')) return kurrentdbStore(location, { deadline: 20_000 })
  return sqliteStore(location, { busyTimeout: 20_000, synchronous: 'normal' })
}

function openState(location) {
  return location.startsWith('postgres')
    ? postgresTarget({ connectionString: location, max: 3 }, { connectTimeout: 10_000 })
    : sqliteTarget(location, { busyTimeout: 20_000, synchronous: 'normal' })
}

/** Synchronously, so that the line is written even if the process is killed next. */
function say(line) {
  writeSync(1, `${line}\n`)
}
