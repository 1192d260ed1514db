import assert from 'node:assert/strict'
import {
  ImportConflictError,
  InvalidArgumentError,
  KeyReusedError,
  StreamTruncatedError,
  UnsupportedError,
} from '../../base/errors.ts'
import { execute } from '../../execution/execute.ts'
import { archiveStream, eventsInArchive } from '../../history/archive.ts'
import { copyHistory } from '../../history/copy.ts'
import { exportEvents } from '../../history/export.ts'
import { importEvents } from '../../history/import.ts'
import type { ExportedEvent } from '../../history/recorded.ts'
import { erasures } from '../../model/erasures.ts'
import type { Recorded } from '../../model/event.ts'
import type { EventStore } from '../../store/event-store.ts'
import { memoryStore } from '../../stores/memory/index.ts'
import { Account, deposit, transfer, withdraw, withdrawCovered } from './accounts.ts'
import { changed } from './faults.ts'
import { drain, everything, failureOf, nothingWritten } from './outcomes.ts'
import type { Demands, Prove } from './prove.ts'
import { happenings } from './sample-events.ts'

const needs: Demands = { needs: ['imports', 'severalStreams', 'keys'] }

/** H2: a history that moves from one store to another keeps everything that was recorded of it. */
export function importing(prove: Prove): void {
  prove(
    'H2: an import keeps ids, times, versions and metadata, and a repeated key is still a repeat',
    needs,
    async (store, realm) => {
      const input = await recordedBefore()
      const report = await importEvents(store, input)
      assert.deepEqual(report, {
        appended: 12,
        present: 0,
        keys: 4,
        erasures: 0,
        position: input.at(-1)!.position,
      })
      const other = await realm.open()
      for (const each of [store, other]) assert.deepEqual(await recordedIn(each), recordedOf(input))
      await nothingWritten(store, async () => {
        for (const each of [store, other]) {
          const first = await execute(each, deposit({ account: 'a', amount: 7 }), { key: 'first' })
          assert.deepEqual([first.repeated, first.state.balance], [true, 7])
          const moved = await execute(each, transfer({ from: 'a', to: 'b', amount: 3 }), { key: 'moved' })
          assert.equal(moved.repeated, true)
          assert.deepEqual([...moved.revisions], [...MOVED])
          const covered = await execute(each, withdrawCovered({ account: 'b', cover: 'a', amount: 4 }), {
            key: 'covered',
          })
          assert.equal(covered.repeated, true)
          await failureOf(KeyReusedError, () =>
            execute(each, deposit({ account: 'a', amount: 8 }), { key: 'first' }),
          )
        }
      })
      await execute(store, withdraw({ account: 'a', amount: 1 }))
    },
  )

  prove('H2: an import that is repeated or resumed writes nothing twice', needs, async (store, realm) => {
    const input = await recordedBefore()
    await importEvents(store, input.slice(0, 5))
    const resumed = await importEvents(store, input)
    assert.deepEqual([resumed.appended, resumed.present], [7, 5])
    assert.deepEqual(await recordedIn(store), recordedOf(input))
    const other = await realm.open()
    await nothingWritten(store, async () => {
      for (const [each, from] of [
        [store, 0],
        [other, 0],
        [other, 8],
      ] as const) {
        const { appended, present } = await importEvents(each, input.slice(from))
        assert.deepEqual([appended, present], [0, input.length - from])
      }
    })
  })

  prove('H2: two imports of one history at once write it once', needs, async (store, realm) => {
    const input = await recordedBefore()
    const other = await realm.open()
    const reports = await Promise.all([importEvents(store, input), importEvents(other, input)])
    assert.equal(reports[0].appended + reports[1].appended, input.length)
    assert.deepEqual(await recordedIn(store), recordedOf(input))
  })

  prove(
    'H2: an import into a store with other events is one clear error, and writes nothing there',
    needs,
    async (store) => {
      const input = await recordedBefore()
      await importEvents(store, input.slice(0, 6))
      await nothingWritten(store, async () => {
        const third = input[2]!
        for (const [change, what] of [
          [{ id: crypto.randomUUID() }, /another event/],
          [{ data: { amount: 99 } }, /another data/],
          [{ time: '2001-01-01T00:00:00.000Z' }, /another time/],
          [{ metadata: { actor: 'eve' } }, /another metadata/],
          [{ version: 9 }, /another version/],
        ] as const) {
          const other = input.map((event) => (event === third ? { ...event, ...change } : event))
          const error = await failureOf(ImportConflictError, () => importEvents(store, other.slice(0, 6)))
          assert.deepEqual([error.stream, error.revision], [third.stream, third.revision])
          assert.match(error.message, what)
        }
        const key = { key: 'first', fingerprint: 'other', through: input[0]!.position!, streams: [] }
        await failureOf(ImportConflictError, () => importEvents(store, [{ ...input[0]!, keys: [key] }]))
      })
      const gap = await failureOf(ImportConflictError, () =>
        importEvents(store, [
          { ...input[0]!, id: crypto.randomUUID(), stream: 'new', revision: 3, keys: [] },
        ]),
      )
      assert.match(gap.message, /has no events/)
      await failureOf(ImportConflictError, () =>
        importEvents(store, [input[6]!, { ...input[6]!, id: crypto.randomUUID(), revision: 17 }]),
      )
    },
  )

  prove(
    'H2: an event that cannot be imported is named, and the batch is not written',
    needs,
    async (store) => {
      const [event] = await recordedBefore()
      await nothingWritten(store, async () => {
        for (const wrong of [
          ...[{ id: 'x' }, { time: 'yesterday' }, { revision: -1 }, { version: 0 }, { stream: '$s' }],
          ...[{ type: '' }, { metadata: { n: 1 } }, { data: undefined }, { keys: [{ key: 'k' }] }],
        ]) {
          const error: unknown = await importEvents(store, [event!, { ...event!, ...wrong } as never]).catch(
            (cause: unknown) => cause,
          )
          const { code } = error as { readonly code?: string }
          assert.ok(code === 'INVALID_ARGUMENT' || code === 'INVALID_DATA', String(error))
        }
        const covers = { key: 'k', fingerprint: 'f', through: 'z', streams: [] }
        await failureOf(InvalidArgumentError, () => importEvents(store, [{ ...event!, keys: [covers] }]))
        await failureOf(InvalidArgumentError, () => importEvents(store, [null as never]))
      })
    },
  )

  prove(
    'H2: an import repeats truncations and deletions',
    { needs: [...needs.needs!, 'truncation'] },
    async (store) => {
      const source = memoryStore()
      await source.append({ stream: 'a', events: happenings(4) })
      await source.append({ stream: 'b', events: happenings(2) })
      const before = await drain(exportEvents(source))
      await source.truncate('a', { before: 3, metadata: { actor: 'eve' } })
      await source.delete('b')
      await source.append({ stream: 'a', events: happenings(1, 4) })
      const after = await drain(exportEvents(source, { after: before.at(-1)!.position }))
      for (const [appended, present] of [
        [7, 0],
        [0, 7],
      ]) {
        const report = await importEvents(store, [...before, ...after])
        assert.deepEqual([report.appended, report.present, report.erasures], [appended, present, 2])
        assert.deepEqual(
          (await drain(store.read('a'))).map(({ revision }) => revision),
          [3, 4],
        )
        await assert.rejects(store.head('b'))
        const told = await drain(store.readAll({ types: Object.values(erasures) }))
        assert.deepEqual(
          told.map(recorded),
          after.filter(({ stream }) => stream === 'mneme-erasures').map(recorded),
        )
      }
    },
  )

  prove(
    'H2: a copy keeps streams without their beginning as they are, live and in both directions',
    { needs: [...needs.needs!, 'truncation'] },
    async (store, realm) => {
      const source = memoryStore()
      await source.append({ stream: 'cut', events: happenings(4) }, { key: 'first' })
      await source.append({ stream: 'emptied', events: happenings(3) })
      await source.append({ stream: 'gone', events: happenings(2) })
      await source.truncate('cut', { before: 3 })
      await source.truncate('emptied', { before: 3 })
      await source.delete('gone')
      const seen: Recorded[] = []
      const subscription = store.subscribe()
      const following = (async () => {
        for await (const event of subscription) if (seen.push(event) === 6) break
      })()
      const { appended, comparison } = await copyHistory(source, store, { verify: true })
      assert.deepEqual([appended, comparison?.differences], [1, []])
      await source.append({ stream: 'emptied', events: happenings(2, 3) }, { key: 'second' })
      await copyHistory(source, store)
      await following
      assert.deepEqual(seen.map(recorded), await recordedIn(source))
      for (const each of [store, await realm.open()]) {
        assert.deepEqual(await recordedIn(each), await recordedIn(source))
        assert.deepEqual([await each.head('cut'), await each.head('emptied')], [3, 4])
        assert.deepEqual(
          (await drain(each.read('emptied'))).map(({ revision }) => revision),
          [3, 4],
        )
        await assert.rejects(each.head('gone'))
        const repeated = await each.append({ stream: 'emptied', events: happenings(2, 3) }, { key: 'second' })
        assert.equal(repeated.repeated, true)
      }
      const back = memoryStore()
      await copyHistory(store, back)
      assert.deepEqual(await recordedIn(back), await recordedIn(source))
      const again = await copyHistory(source, store)
      assert.deepEqual([again.appended, again.read], [0, 0])
    },
  )

  prove('H2: what a store exports, another store imports, with its keys', needs, async (store) => {
    await history(store)
    const target = memoryStore()
    const { keys } = await importEvents(target, exportEvents(store))
    assert.equal(keys, 4)
    assert.deepEqual(await recordedIn(target), await recordedIn(store))
    await nothingWritten(target, async () => {
      const moved = await execute(target, transfer({ from: 'a', to: 'b', amount: 3 }), { key: 'moved' })
      assert.deepEqual([moved.repeated, [...moved.revisions]], [true, [...MOVED]])
      await failureOf(KeyReusedError, () =>
        execute(target, deposit({ account: 'a', amount: 8 }), { key: 'first' }),
      )
    })
    const half = (await drain(exportEvents(store)))[6]!.position
    assert.deepEqual(
      await drain(exportEvents(store, { after: half })),
      (await drain(exportEvents(store))).slice(7),
    )
  })

  prove('H2: a live subscriber gets imported events as they were recorded', needs, async (store) => {
    const input = await recordedBefore()
    const subscription = store.subscribe()
    const following = (async () => {
      const seen: Recorded[] = []
      for await (const event of subscription) if (seen.push(event) === input.length) break
      return seen
    })()
    await importEvents(store, input)
    assert.deepEqual((await following).map(recorded), recordedOf(input))
  })

  prove('H2: an archived stream can be imported again', needs, async (store) => {
    await history(store)
    let archive = ''
    const to = (lines: string) => void (archive += lines)
    const { events, head } = await archiveStream(store, Account('a'), { to, before: 4 })
    assert.deepEqual([events, head], [4, await store.head(Account('a'))])
    const whole = await archiveStream(store, 'Thing-1', { to })
    assert.deepEqual(whole, { events: 3, keys: 0, head: 2 })
    assert.deepEqual(await archiveStream(store, 'never', { to }), { events: 0, keys: 0, head: 'none' })
    await failureOf(InvalidArgumentError, () => archiveStream(store, 'Thing-1', { to, before: 4 }))
    const bytes = new TextEncoder().encode(archive)
    for (const size of [1, 7, bytes.length]) {
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.slice(i * size, (i + 1) * size),
      )
      const target = memoryStore()
      await importEvents(target, eventsInArchive(chunks))
      const expected = [
        ...(await drain(store.read(Account('a').stream, { to: 3 }))),
        ...(await drain(store.read('Thing-1'))),
      ]
      assert.deepEqual(await recordedIn(target), expected.map(recorded))
    }
    await failureOf(InvalidArgumentError, () => drain(eventsInArchive([archive.slice(0, -20)])))
  })

  prove(
    'H2: a key whose events were truncated is a repeat where their archive was imported, as it is in the store',
    { needs: [...needs.needs!, 'truncation'] },
    async (store) => {
      await history(store)
      const one = { stream: 'Thing-9', events: happenings(2) }
      const two = [
        { stream: 'Thing-9', events: happenings(1) },
        { stream: 'Thing-8', events: happenings(1) },
      ]
      await store.append(one, { key: 'one' })
      await store.append(two, { key: 'two' })
      let archive = ''
      const to = (lines: string) => void (archive += lines)
      const nowhere = () => undefined
      // A key that covers another stream stays with the events of that one; one that has only read another stream does not.
      assert.equal((await archiveStream(store, 'Thing-9', { to: nowhere, keys: true })).keys, 1)
      assert.equal((await archiveStream(store, Account('b'), { to: nowhere, keys: true })).keys, 1)
      assert.equal((await archiveStream(store, 'Thing-9', { to: nowhere, before: 1, keys: true })).keys, 0)
      const archived = await archiveStream(store, 'Thing-9', { to, before: 2, keys: true })
      assert.deepEqual(archived, { events: 2, keys: 1, head: 2 })
      await store.truncate('Thing-9', { before: 2 })
      const target = memoryStore()
      const both = async function* () {
        yield* eventsInArchive(archive)
        yield* exportEvents(store)
      }
      await importEvents(target, both())
      for (const each of [store, target]) {
        await nothingWritten(each, async () => {
          const repeat = () => each.append(one, { key: 'one' })
          if (each.capabilities.erasesAtOnce) await failureOf(StreamTruncatedError, repeat)
          else assert.equal((await repeat()).repeated, true)
          assert.equal((await each.append(two, { key: 'two' })).repeated, true)
        })
      }
      const again = await importEvents(target, both())
      assert.equal(again.appended, 0)
    },
  )

  prove('F1: a store that cannot import says so', async (_, realm) => {
    const store = await realm.open((adapter) =>
      changed(adapter, { capabilities: { ...adapter.capabilities, imports: false } }),
    )
    await failureOf(UnsupportedError, () => importEvents(store, []))
  })
}

/** Where the streams of the key 'moved' stood after it. */
const MOVED = [
  ['Account-a', 2],
  ['Account-b', 0],
] as const

/** Events of every kind: 12 of them, and four keys. */
async function history(store: EventStore): Promise<void> {
  await execute(store, deposit({ account: 'a', amount: 7 }), { key: 'first', metadata: { actor: 'ann' } })
  await execute(store, deposit({ account: 'a', amount: 1 }))
  await execute(store, transfer({ from: 'a', to: 'b', amount: 3 }), { key: 'moved' })
  await store.append([
    {
      stream: 'Thing-1',
      events: [{ type: 'Thing.Made', version: 3, data: { text: 'é😀', list: [1, { b: 1, a: null }] } }],
    },
    { stream: Account('a'), events: [Account.events.Noted({ text: 'between' })] },
    { stream: 'Thing-1', events: happenings(1) },
  ])
  await execute(store, withdrawCovered({ account: 'b', cover: 'a', amount: 4 }), { key: 'covered' })
  await store.append(
    { stream: 'Thing-1', events: happenings(1) },
    { key: 'thing', metadata: { correlation: 'c' } },
  )
  await store.append({ stream: Account('a'), events: [Account.events.Noted({ text: 'late' })] })
  await store.append({ stream: 'Thing 2', events: happenings(2) })
}

/** The same, as exported from a store of an earlier year. */
async function recordedBefore(): Promise<ExportedEvent[]> {
  const source = memoryStore()
  await history(source)
  const exported = await drain(exportEvents(source))
  return exported.map((event) => ({ ...event, time: `2003${event.time.slice(4)}` }))
}

async function recordedIn(store: EventStore): Promise<unknown[]> {
  return (await everything(store)).map(recorded)
}

function recordedOf(events: readonly ExportedEvent[]): unknown[] {
  return events.map(recorded)
}

/** What is alike in every store: all but the position, and the keys. */
function recorded({ id, stream, revision, type, version, time, metadata, data }: ExportedEvent): unknown {
  return { id, stream, revision, type, version, time, metadata, data }
}
