import { expect, onTestFinished, test } from 'vitest'
import { defineAggregate, event, type EventStore, ImportConflictError, InvalidArgumentError } from 'mneme'
import {
  compareHistories,
  copyHistory,
  type CopyTransform,
  eventsInArchive,
  exportEvents,
  followHistory,
  importEvents,
  moveCheckpoints,
} from 'mneme/history'
import { memoryStore } from 'mneme/memory'
import { defineProjection, runProjections } from 'mneme/projections'
import { sqliteStore, sqliteTarget } from 'mneme/sqlite'
import { memoryAdapter, MemoryData } from '../../src/stores/memory/adapter.ts'
import { createStore } from '../../src/store/create-store.ts'
import { ownServer, storeOf } from '../stores/kurrentdb/rig.ts'
import { checkCopying, fact, recordedIn, writeHistory } from './copies.ts'

const opened: Record<string, () => Promise<EventStore>> = {
  memory: () => Promise.resolve(memoryStore()),
  SQLite: () => sqliteStore(':memory:'),
  KurrentDB: async () => storeOf((await ownServer()).connectionString),
}

for (const [from, to] of [
  ['memory', 'memory'],
  ['memory', 'SQLite'],
  ['SQLite', 'memory'],
  ['SQLite', 'KurrentDB'],
  ['KurrentDB', 'SQLite'],
] as const) {
  test(`a history is copied from ${from} to ${to}, again, and live`, async () => {
    const [source, target] = [await opened[from]!(), await opened[to]!()]
    await checkCopying(source, target)
    await source.close()
    await target.close()
  })
}

test('a copy that ends after any batch goes on where it ended, and gives what an uninterrupted one gives', async () => {
  const from = memoryStore()
  for (let n = 0; n < 30; n++) {
    const events = Array.from({ length: 100 }, (_, i) => fact(i))
    await from.append({ stream: `Fact-${String(n % 7)}`, events }, { key: String(n) })
  }
  await writeHistory(from)
  const whole = memoryStore()
  const { appended } = await copyHistory(from, whole)
  const to = memoryStore()
  let runs = 0
  for (let isOver = false; !isOver; runs++) {
    const ending = new AbortController()
    const onProgress = () => {
      ending.abort()
    }
    const run = copyHistory(from, to, { signal: ending.signal, onProgress })
    isOver = await run.then(
      () => true,
      () => false,
    )
  }
  expect(runs).toBeGreaterThan(3)
  expect(await recordedIn(to)).toEqual(await recordedIn(whole))
  expect(await compareHistories(from, to)).toMatchObject({ isSame: true, events: appended + 3 })
})

test('a copy is refused by a store with events of its own, and by one that has gone on after the move', async () => {
  const [from, to, other] = [memoryStore(), memoryStore(), memoryStore()]
  await writeHistory(from)
  await copyHistory(from, to)
  await to.append({ stream: 'Fact-a', events: [fact()] })
  await other.append({ stream: 'Other-1', events: [fact()] })
  for (const store of [to, other]) {
    const before = await store.logHead()
    await expect(copyHistory(from, store)).rejects.toThrow(ImportConflictError)
    expect(await store.logHead()).toBe(before)
  }
  await expect(copyHistory(from, from)).rejects.toThrow(InvalidArgumentError)
})

test('a comparison names the stream and the revision of one changed byte, and of what is missing', async () => {
  const from = memoryStore()
  await writeHistory(from)
  const data = new MemoryData()
  const to = createStore(memoryAdapter(data))
  await copyHistory(from, to)
  const index = data.log.findIndex(({ stream, revision }) => stream === 'Fact-b' && revision === 1)
  const stored = data.log[index]!
  data.log[index] = { ...stored, data: stored.data.replace('é', 'è') }
  expect(await compareHistories(from, to)).toMatchObject({
    isSame: false,
    differences: [{ kind: 'different', stream: 'Fact-b', revision: 1, what: 'data' }],
  })
  data.log[index] = stored
  data.keys.delete('both')
  await to.append({ stream: 'Fact-b', events: [fact()] })
  await from.append({ stream: 'Fact-a', events: [fact()] })
  const { differences } = await compareHistories(from, to)
  expect(differences).toMatchObject([
    { kind: 'missing', stream: 'Fact-a', revision: 5 },
    { kind: 'extra', stream: 'Fact-b', revision: 2 },
    { kind: 'key', stream: 'Fact-b', revision: 1, what: 'both' },
  ])
})

const anonymous: CopyTransform = (event) => {
  if (event.stream === 'Fact-b') return undefined
  if (event.stream !== 'Fact-a') return event
  const { n } = event.data as { n: number }
  const stated = { ...event, stream: 'Told-a', data: { n } }
  return n === 2 ? [stated, { ...stated, type: 'Fact.Repeated' }] : stated
}

test('a transform is tried without writing, and its copy can be ended anywhere', async () => {
  const from = memoryStore()
  await writeHistory(from)
  const to = memoryStore()
  const dry = await copyHistory(from, to, { transform: anonymous, dryRun: true, samples: 2 })
  expect(dry).toMatchObject({ appended: 0, read: 13, changed: 5, dropped: 2 })
  expect(dry.samples).toMatchObject([
    { before: { stream: 'Fact-a', data: { text: 'é' } }, after: [{ stream: 'Told-a', data: { n: 1 } }] },
    { before: { data: { n: 2 } }, after: [{ type: 'Fact.Stated' }, { type: 'Fact.Repeated' }] },
  ])
  expect(await to.logHead()).toBeUndefined()

  const { comparison } = await copyHistory(from, to, { transform: anonymous, verify: true })
  expect(comparison).toMatchObject({ isSame: true, differences: [] })
  expect(await copyHistory(from, to, { transform: anonymous })).toMatchObject({ appended: 0, read: 0 })
  expect((await to.readPage('Told-a')).events.map(({ revision }) => revision)).toEqual([0, 1, 2, 3, 4, 5])
  // It is not whole, so it must not look like it.
  expect((await to.readPage('Fact-cut')).events[0]?.revision).toBe(1)
  await from.append({ stream: 'Fact-a', events: [fact(2)] }, { key: 'later' })
  await from.truncate('Fact-a', { before: 3 })
  await from.delete('Fact-b')
  const renamed: CopyTransform = (event) => {
    const data = event.data as { stream?: string }
    if (event.type.startsWith('mneme.') && data.stream === 'Fact-a')
      return { ...event, data: { ...data, stream: 'Told-a' } }
    return anonymous(event)
  }
  const more = await copyHistory(from, to, { transform: renamed })
  expect(more).toMatchObject({ read: 3, keys: 1, erasures: 2 })
  expect((await to.readPage('Told-a')).events.map(({ data }) => data)).toEqual([
    { n: 4 },
    { n: 6 },
    { n: 2 },
    { n: 2 },
  ])
  await expect(
    copyHistory(from, memoryStore(), { transform: () => Promise.resolve() as never }),
  ).rejects.toThrow('without async')
})

test('writers move to the new store without a gap, and a retry after the move does nothing twice', async () => {
  const [from, to] = [await sqliteStore(':memory:'), memoryStore()]
  onTestFinished(() => from.close())
  const calls: string[] = []
  const writer = async (name: string, until: () => boolean) => {
    for (let n = 0; !until(); n++) {
      const key = `${name} ${String(n)}`
      await from.append({ stream: `Fact-${name}`, events: [fact(n), fact(n)] }, { key })
      calls.push(key)
      await new Promise(setImmediate)
    }
  }
  const copy = followHistory(from, to)
  const before = Promise.all(['a', 'b', 'c'].map((name) => writer(name, () => calls.length > 300)))
  await copy.caughtUp()
  await before
  await copy.caughtUp()
  expect((await copy.stop()).keys).toBe(calls.length)
  expect(await compareHistories(from, to)).toMatchObject({ isSame: true, events: 2 * calls.length })
  const [retried] = calls
  const again = await to.append(
    { stream: `Fact-${retried!.slice(0, 1)}`, events: [fact(0), fact(0)] },
    { key: retried },
  )
  expect(again).toMatchObject({ repeated: true })
  await to.append({ stream: 'Fact-a', events: [fact()] })
  const late = followHistory(from, to)
  await expect(late.caughtUp()).rejects.toThrow(ImportConflictError)
  await expect(late.ended).rejects.toThrow(ImportConflictError)
})

const Door = defineAggregate({
  name: 'Door',
  events: { Opened: event<{ by: string }>() },
  initial: () => ({}),
  apply: { Opened: () => ({}) },
})

test('a projection goes on in the new store behind the event that it handled last', async () => {
  const [from, to] = [memoryStore(), await sqliteStore(':memory:')]
  const target = sqliteTarget(':memory:')
  onTestFinished(() => target.close())
  const doors = defineProjection({
    name: 'doors',
    into: target,
    from: [Door],
    onError: 'park',
    retry: { maxRetries: 0 },
    setup: (db) => db.exec('CREATE TABLE doors (id TEXT PRIMARY KEY)'),
    on: {
      'Door.Opened': ({ id, data }, db) => {
        if (data.by === 'thief') throw new Error('a thief')
        db.prepare('INSERT INTO doors VALUES (?)').run(id)
      },
    },
  })
  const open = (store: EventStore, by: string) =>
    store.append({ stream: Door(by), events: [Door.events.Opened({ by })] })
  for (const by of ['ada', 'thief', 'bob']) await open(from, by)
  const running = await runProjections(from, [doors])
  await running.caughtUp()
  const copy = followHistory(from, to)
  await copy.caughtUp()
  await expect(moveCheckpoints(target, from, to)).rejects.toThrow('stop it')
  await running.stop()
  // Handled by nobody yet.
  await from.append({ stream: 'Other-1', events: [fact()] })
  await open(from, 'eve')
  await copy.caughtUp()
  await copy.stop()
  expect(await moveCheckpoints(target, from, to)).toMatchObject([{ name: 'doors', outcome: 'moved' }])
  expect(await moveCheckpoints(target, from, to)).toMatchObject([{ name: 'doors', outcome: 'moved-before' }])
  await open(to, 'zoe')
  const moved = await runProjections(to, [doors])
  await moved.caughtUp()
  const rows = await target.query<{ n: number }>('SELECT count(*) AS n FROM doors')
  expect(rows).toEqual([{ n: 4 }])
  const [parked] = await doors.parked()
  expect(parked?.event.position).toBe((await to.readPage('Door-thief')).events[0]?.position)
  await moved.stop()
  await to.close()
})

test('what a store exports as lines of JSON is imported with its keys', async () => {
  const from = memoryStore()
  await from.append(
    { stream: 'Fact-a', events: [fact(1), fact(2)] },
    { key: 'k', metadata: { actor: 'eve' } },
  )
  await from.append({ stream: 'Fact-b', events: [fact(3)] })
  const lines: string[] = []
  for await (const exported of exportEvents(from)) lines.push(`${JSON.stringify(exported)}\n`)
  const to = memoryStore()
  await importEvents(to, eventsInArchive(lines))
  expect(await compareHistories(from, to)).toMatchObject({ isSame: true, events: 3, keys: 1 })
})
