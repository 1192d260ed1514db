import { defineCommand, execute, reject, tryExecute, type EventStore } from 'mneme'
import { kurrentdbStore } from 'mneme/kurrentdb'

import { Account, deposit, NOTE } from './account.ts'
import { joiningFigures } from './joining.ts'
import { compare, seconds, type Figure } from './measure.ts'
import { RawKurrentdb } from './raw-kurrentdb.ts'
import { appendAlone, callers, executeAlone, fill, readAll } from './work.ts'

/** One caller's in a run: few, because what else the machine does shows most in one that waits all the time. */
const APPENDS = 200
const RUNS = 30
const CALLERS = 64
const MANY = 6_400
const BATCHES = 20
const BATCH = 1_000
/** Streams in one append. */
const WIDTH = 3
/** Streams that are new to the store. */
const COLD = 25
const EVENTS = 100_000

/**
 * The KurrentDB store against the official client, on the server of `MNEME_BENCH_KURRENTDB`, a connection string;
 * what they append stays there.
 */
export async function* kurrentdbFigures(): AsyncGenerator<Figure> {
  const connection = process.env.MNEME_BENCH_KURRENTDB
  if (connection === undefined) {
    console.log('KurrentDB skipped: set MNEME_BENCH_KURRENTDB to the connection string of a server')
    return
  }
  const raw = new RawKurrentdb(connection)
  const store = await kurrentdbStore(connection)
  const cold = await kurrentdbStore(connection, { cachedStates: 0 })
  try {
    console.log(`KurrentDB ${await raw.version()}\n`)
    yield* callersFigures(store, raw)
    yield* commandFigures(store, raw)
    yield* joiningFigures('KurrentDB', store, cold)
    yield* coldFigures(cold, raw)
    yield* batchFigures(store, raw)
    yield* readingFigures(store, raw)
  } finally {
    await Promise.all([store.close(), cold.close(), raw.close()])
  }
}

async function* callersFigures(store: EventStore, raw: RawKurrentdb): AsyncGenerator<Figure> {
  const appendAloneRaw = () => seconds(() => raw.append(APPENDS))
  yield await compare({
    name: 'append alone',
    to: "the client's appendToStream",
    goal: 0.95,
    operations: [APPENDS, APPENDS],
    runs: RUNS,
    ours: () => {
      const stream = nextName()
      return seconds(() => appendAlone(store, stream, APPENDS))
    },
    theirs: appendAloneRaw,
  })
  yield await compare({
    name: '64 callers of append, on streams of their own',
    to: "as many callers of the client's appendToStream",
    goal: 1,
    operations: [MANY, MANY],
    ours: () => {
      const name = nextName()
      return seconds(() =>
        callers(CALLERS, (i) => appendAlone(store, `${name}-${String(i)}`, MANY / CALLERS)),
      )
    },
    theirs: () => seconds(() => raw.appendFrom(CALLERS, MANY / CALLERS)),
  })
  yield await compare({
    name: '64 callers of execute, on one stream',
    to: "the client's appendToStream on one stream, one after the other",
    goal: 3,
    operations: [MANY, APPENDS],
    ours: () => {
      const account = nextName()
      return seconds(() => callers(CALLERS, () => executeAlone(store, account, MANY / CALLERS)))
    },
    theirs: appendAloneRaw,
  })
}

/** On a cached state. */
async function* commandFigures(store: EventStore, raw: RawKurrentdb): AsyncGenerator<Figure> {
  const [long, short, refused] = [nextName(), nextName(), nextName()]
  await fill(store, long, 10_000)
  await fill(store, short, 10)
  yield await compare({
    name: 'execute on a stream of 10,000 events',
    to: 'execute on one of 10',
    goal: 0.9,
    operations: [APPENDS, APPENDS],
    runs: RUNS,
    ours: () => seconds(() => executeAlone(store, long, APPENDS)),
    theirs: () => seconds(() => executeAlone(store, short, APPENDS)),
  })
  await fill(store, refused, 10)
  await execute(store, deposit({ account: refused, amount: 1 }))
  yield await compare({
    name: 'a rejected command, with what it stands on verified',
    to: "the client's appendToStream of nothing, under a revision",
    operations: [APPENDS, APPENDS],
    runs: RUNS,
    ours: () => seconds(() => refuseAlone(store, refused, APPENDS)),
    theirs: () => seconds(() => raw.verify(Account(refused).stream, 10, APPENDS)),
  })
}

const refuse = defineCommand({
  reads: (input: { account: string }) => Account(input.account),
  handle: () => reject('refused'),
})

async function refuseAlone(store: EventStore, account: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await tryExecute(store, refuse({ account }))
}

/** On streams whose states are not at hand, as a program that has just started meets them. */
async function* coldFigures(store: EventStore, raw: RawKurrentdb): AsyncGenerator<Figure> {
  const operations = [COLD, COLD] as const
  yield await compare({
    name: 'reading a stream of 10 events',
    to: "the client's readStream",
    operations,
    ours: async () => {
      const accounts = await shortAccounts(store)
      return seconds(async () => {
        for (const account of accounts) await readStream(store, account)
      })
    },
    theirs: async () => {
      const streams = streamsOf(await shortAccounts(store))
      return seconds(() => raw.readEach(streams))
    },
  })
  yield await compare({
    name: 'execute on a stream of 10 events, without a cached state',
    to: "the client's readStream, then appendToStream",
    operations,
    ours: async () => {
      const accounts = await shortAccounts(store)
      return seconds(async () => {
        for (const account of accounts) await executeAlone(store, account, 1)
      })
    },
    theirs: async () => {
      const streams = streamsOf(await shortAccounts(store))
      return seconds(() => raw.decideEach(streams))
    },
  })
}

/** Accounts of 10 events each. */
async function shortAccounts(store: EventStore): Promise<string[]> {
  const accounts = Array.from({ length: COLD }, nextName)
  for (const account of accounts) await fill(store, account, 10)
  return accounts
}

function streamsOf(accounts: readonly string[]): string[] {
  return accounts.map((account) => Account(account).stream)
}

async function* batchFigures(store: EventStore, raw: RawKurrentdb): AsyncGenerator<Figure> {
  yield await compare({
    name: 'appends of 1,000 events',
    to: "the client's appendToStream of 1,000 events",
    operations: [BATCHES, BATCHES],
    ours: () => seconds(() => appendBatches(store, nextName())),
    theirs: () => seconds(() => raw.appendBatches(BATCHES, BATCH)),
  })
  if (!store.capabilities.severalStreams) return
  yield await compare({
    name: 'append to three streams at once',
    to: "the client's appendRecords, with as many checks",
    operations: [APPENDS, APPENDS],
    runs: RUNS,
    ours: () => {
      const streams = Array.from({ length: WIDTH }, nextName)
      return seconds(() => appendToEach(store, streams, APPENDS))
    },
    theirs: () => seconds(() => raw.appendRecords(APPENDS, WIDTH)),
  })
}

async function appendBatches(store: EventStore, stream: string): Promise<void> {
  for (let i = 0; i < BATCHES; i++) {
    const events = Array.from({ length: BATCH }, (_, n) => depositOf(i * BATCH + n))
    await store.append({ stream, events, expected: i === 0 ? 'none' : i * BATCH - 1 })
  }
}

/** An event to each stream in every append. */
async function appendToEach(store: EventStore, streams: readonly string[], count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const expected = i === 0 ? 'none' : i - 1
    await store.append(streams.map((stream) => ({ stream, events: [depositOf(i)], expected })))
  }
}

function depositOf(amount: number) {
  return Account.events.Deposited({ amount, note: NOTE })
}

async function* readingFigures(store: EventStore, raw: RawKurrentdb): AsyncGenerator<Figure> {
  const start = await raw.end()
  const after = await store.logHead()
  const long = nextName()
  await fill(store, long, 1_000)
  for (let i = 1_000; i < EVENTS; i += 1_000) await extend(store, long, i, 1_000)
  yield await compare({
    name: 'reading a stream of 100,000 events',
    to: "the client's readStream",
    goal: 0.9,
    operations: [EVENTS, EVENTS],
    ours: () => seconds(() => readStream(store, long)),
    theirs: () => seconds(() => raw.readEach(streamsOf([long]))),
  })
  yield await compare({
    name: 'reading all events, 100,000',
    to: "the client's readAll, without the server's events",
    goal: 0.9,
    operations: [EVENTS, EVENTS],
    ours: () => seconds(() => readAll(store, after)),
    theirs: () => seconds(() => raw.readAll(start)),
  })
}

async function extend(store: EventStore, account: string, from: number, count: number): Promise<void> {
  const events = Array.from({ length: count }, (_, i) => depositOf(from + i))
  await store.append({ stream: Account(account), events, expected: from - 1 })
}

async function readStream(store: EventStore, account: string): Promise<number> {
  let count = 0
  for await (const event of store.read(Account(account).stream)) if (event.revision >= 0) count++
  return count
}

/** Streams stay on the server: each gets a name of its own. */
function nextName(): string {
  return crypto.randomUUID()
}
