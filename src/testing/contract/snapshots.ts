import assert from 'node:assert/strict'
import type { Snapshot, SnapshotKeeper, StoreAdapter } from '../../adapter/store-adapter.ts'
import { StoreFailedError, StreamTruncatedError } from '../../base/errors.ts'
import { execute } from '../../execution/execute.ts'
import { load } from '../../execution/load.ts'
import { copySnapshots } from '../../history/copy-snapshots.ts'
import { exportEvents } from '../../history/export.ts'
import { importEvents } from '../../history/import.ts'
import { verifySnapshots } from '../../history/verify-snapshots.ts'
import { defineAggregate } from '../../model/aggregate.ts'
import { defineCommand } from '../../model/command.ts'
import { event } from '../../model/event-spec.ts'
import { memoryStore } from '../../stores/memory/index.ts'
import { changed } from './faults.ts'
import { everything, failureOf } from './outcomes.ts'
import type { Demands, Prove } from './prove.ts'
import type { Change, Realm } from './realm.ts'
import { upTo } from './sample-events.ts'

const needs: Demands = { needs: ['snapshots'] }
const EVERY = 10

/** In version n, a letter counts n. */
function pagesOfVersion(version: number) {
  return defineAggregate({
    name: 'Pages',
    events: { Written: event<{ text: string }>() },
    initial: () => ({ texts: [] as readonly string[], length: 0 }),
    apply: {
      Written: ({ texts, length }, { text }) => ({
        texts: [...texts, text],
        length: length + version * text.length,
      }),
    },
    snapshot: { version, every: EVERY },
  })
}

const Pages = pagesOfVersion(1)
const { Written } = Pages.events

const write = defineCommand({
  reads: (input: { pages: string; texts: readonly string[] }) => Pages(input.pages),
  handle: (_, { texts }) => texts.map((text) => Written({ text })),
})

/** H1: a state from a snapshot is the one that folding gives. */
export function snapshots(prove: Prove): void {
  prove('H1: a snapshot is written when enough events were appended, and used', needs, async (_, realm) => {
    await fill(realm, EVERY + 3)
    const kept = await keptOf(realm)
    assert.equal(kept?.revision, EVERY - 1)
    const { state, reads } = await loaded(realm)
    assert.equal(state.texts.length, EVERY + 3)
    assert.deepEqual(reads, [EVERY - 1])
    assert.ok(Object.isFrozen(state.texts))
  })

  prove('H1: a load that had to fold many events writes a snapshot', needs, async (store, realm) => {
    await store.append({ stream: Pages('a'), events: upTo(25).map((n) => Written({ text: String(n) })) })
    assert.equal(await keptOf(realm), undefined)
    const first = await loaded(realm)
    assert.equal((await keptOf(realm))?.revision, 24)
    const second = await loaded(realm)
    assert.deepEqual([first.reads, second.reads], [[0], [24]])
    assert.deepEqual(second.state, first.state)
  })

  prove(
    'H1: a command on a snapshot decides on the state that folding gives',
    needs,
    async (store, realm) => {
      await fill(realm, EVERY)
      await store.append({ stream: Pages('a'), events: [Written({ text: 'of a stranger' })] })
      const seen: number[] = []
      const count = defineCommand({
        reads: (pages: string) => Pages(pages),
        handle: ({ texts }) => {
          seen.push(texts.length)
          return Written({ text: 'counted' })
        },
      })
      const cold = await realm.open()
      const { revisions } = await execute(cold, count('a'))
      assert.deepEqual([seen, [...revisions.values()]], [[EVERY + 1], [EVERY + 1]])
    },
  )

  prove(
    'H1: snapshots are in no stream, no position and no head of the store',
    needs,
    async (store, realm) => {
      await fill(realm, 3 * EVERY)
      const log = await everything(store)
      assert.deepEqual([...new Set(log.map(({ stream }) => stream))], ['Pages-a'])
      assert.equal(log.length, 3 * EVERY)
      assert.equal(await store.logHead(), log.at(-1)?.position)
      if (store.capabilities.listsStreams) {
        const streams = []
        for await (const { stream } of store.streams()) streams.push(stream)
        assert.deepEqual(streams, ['Pages-a'])
      }
      const subscribed: string[] = []
      for await (const { stream } of store.subscribe()) {
        subscribed.push(stream)
        if (subscribed.length === log.length) break
      }
      assert.deepEqual(new Set(subscribed), new Set(['Pages-a']))
    },
  )

  const id = '00000000-0000-4000-8000-000000000000'
  const planted: Readonly<Record<string, (kept: Snapshot) => Snapshot>> = {
    'that is damaged': (kept) => ({ ...kept, content: kept.content.slice(0, -3) }),
    'that is not an object': (kept) => ({ ...kept, content: 'null' }),
    'in another format': (kept) => ({
      ...kept,
      content: '{"format":99,"version":1,"state":{"texts":[],"length":0}}',
    }),
    'of another version of the fold': ({ content, ...kept }) => ({
      ...kept,
      content: content.replace('"version":1', '"version":2'),
    }),
    'of a state that apply throws on': (kept) => ({
      ...kept,
      content: '{"format":1,"version":1,"state":{}}',
    }),
    'of an event beyond the head of the stream': (kept) => ({ ...kept, revision: 900 }),
    'whose event was replaced by another one, as after a restore': (kept) => ({ ...kept, id }),
  }
  for (const [what, plant] of Object.entries(planted)) {
    prove(`H1: a snapshot ${what} is not used`, needs, async (_, realm) => {
      await fill(realm, EVERY + 2)
      const folded = await folding(realm)
      const change = keeping((keeper) => ({
        get: async (...args) => {
          const kept = await keeper.get(...args)
          return kept && plant(kept)
        },
      }))
      const { state, reads } = await loaded(realm, change)
      assert.deepEqual(state, folded)
      assert.equal(reads.at(-1), 0)
    })
  }

  prove('H1: a snapshot that is later than a head of the boundary is not used', needs, async (_, realm) => {
    await fill(realm, 3 * EVERY)
    const { revision, ...kept } = (await keptOf(realm))!
    assert.equal(revision, 3 * EVERY - 1)
    // The heads that another connection was given before the last events came.
    const change: Change = (adapter) =>
      changed(adapter, {
        heads: (streams) => Promise.resolve(streams.map((name) => (name === 'Pages-a' ? EVERY + 4 : 'none'))),
      })
    const behind = await realm.open(change)
    const { state } = await load(behind, { a: Pages('a'), b: Pages('b') })
    await behind.close()
    assert.equal(state.a.texts.length, EVERY + 5)
    // Nor is it replaced by an earlier one.
    assert.deepEqual(await keptOf(realm), { revision, ...kept })
  })

  prove('H1: a snapshot is kept only if its event is in the stream', needs, async (store, realm) => {
    await store.append({ stream: Pages('a'), events: [Written({ text: '0' }), Written({ text: '1' })] })
    const adapter = await realm.connect()
    try {
      const keeper = adapter.snapshots!
      const [first] = await everything(store)
      const snapshot = { stream: 'Pages-a', name: 'Pages', revision: 0, id: first!.id, content: '{}' }
      assert.equal(await keeper.put({ ...snapshot, id }), false)
      assert.equal(await keeper.put({ ...snapshot, revision: 1 }), false)
      assert.equal(await keeper.put({ ...snapshot, revision: 900 }), false)
      assert.equal(await keeper.put({ ...snapshot, stream: 'Pages-b' }), false)
      assert.equal(await keeper.get('Pages-a', 'Pages'), undefined)
      assert.equal(await keeper.put(snapshot), true)
      assert.equal(await keeper.put({ ...snapshot, content: '{"n":1}' }), true)
      const kept = { revision: 0, id: first!.id, content: '{"n":1}' }
      assert.deepEqual({ ...(await keeper.get('Pages-a', 'Pages')) }, kept)
      assert.equal(await keeper.get('Pages-a', 'Others'), undefined)
      assert.equal(await keeper.get('pages-a', 'Pages'), undefined)
      await keeper.delete('Pages-a')
      assert.equal(await keeper.get('Pages-a', 'Pages'), undefined)
    } finally {
      await adapter.close()
    }
  })

  prove('H1: a store that cannot keep or give snapshots fails no command', needs, async (_, realm) => {
    const fail = () => Promise.reject(new StoreFailedError('the snapshots are out of reach'))
    await fill(
      realm,
      2 * EVERY + 1,
      'a',
      keeping(() => ({ get: fail, put: fail })),
    )
    assert.equal(await keptOf(realm), undefined)
    const { state } = await loaded(
      realm,
      keeping(() => ({ get: fail, put: fail })),
    )
    assert.equal(state.texts.length, 2 * EVERY + 1)
  })

  prove('H1: a command does not wait for its snapshot, and closing does', needs, async (_, realm) => {
    let release: () => void = () => undefined
    const released = new Promise<void>((resolve) => (release = resolve))
    realm.atEnd(() => release())
    const store = await realm.open(
      keeping((keeper) => ({
        put: async (snapshot) => {
          await released
          return keeper.put(snapshot)
        },
      })),
    )
    for (const n of upTo(EVERY + 1)) await execute(store, write({ pages: 'a', texts: [String(n)] }))
    const closing = store.close()
    release()
    await closing
    assert.equal((await keptOf(realm))?.revision, EVERY - 1)
  })

  prove('H1: two processes that write snapshots at once leave one that is used', needs, async (_, realm) => {
    await Promise.all(upTo(2).map(() => fill(realm, 2 * EVERY)))
    const folded = await folding(realm)
    const { state, reads } = await loaded(realm)
    assert.deepEqual(state, folded)
    assert.equal(state.texts.length, 4 * EVERY)
    assert.ok(reads[0]! > 0)
  })

  prove(
    'H1: programs with two versions of a fold, side by side, have each its own state',
    needs,
    async (_, realm) => {
      for (const round of upTo(2)) {
        for (const version of [1, 2]) {
          const program = pagesOfVersion(version)
          const store = await realm.open()
          for (const _ of upTo(EVERY)) {
            await execute(store, {
              reads: program('a'),
              handle: () => program.events.Written({ text: 'x' }),
            })
          }
          await store.close()
          const cold = await realm.open()
          const { state } = await load(cold, program('a'))
          await cold.close()
          assert.equal(state.length, version * EVERY * (2 * round + version))
        }
      }
    },
  )

  prove(
    'H1: a truncated stream that was imported elsewhere can be decided on there, once its snapshot was copied',
    { needs: ['snapshots', 'truncation', 'imports', 'severalStreams', 'keys'] },
    async (store, realm) => {
      await fill(realm, EVERY + 2)
      const target = memoryStore()
      await importEvents(target, exportEvents(store))
      const after = await store.logHead()
      await store.truncate(Pages('a'), { before: EVERY - 1 })
      await importEvents(target, exportEvents(store, { after }))
      await failureOf(StreamTruncatedError, () => load(target, Pages('a')))
      const streams = [Pages('a'), Pages('never')]
      const copied = { copied: 1, present: 0, refused: [] }
      assert.deepEqual(await copySnapshots(store, target, [Pages], { streams }), copied)
      const again = { copied: 0, present: 1, refused: [] }
      assert.deepEqual(await copySnapshots(store, target, [Pages], { streams }), again)
      assert.deepEqual(await load(target, Pages('a')), await load(await realm.open(), Pages('a')))
      await execute(target, write({ pages: 'a', texts: ['more'] }))
      const refused = { copied: 0, present: 0, refused: [Pages('a').stream] }
      assert.deepEqual(await copySnapshots(store, memoryStore(), [Pages], { streams }), refused)
    },
  )

  prove(
    'H1: verifySnapshots finds an apply that was changed without a new version',
    needs,
    async (store, realm) => {
      await fill(realm, EVERY)
      const streams = [Pages('a')]
      assert.deepEqual(await verifySnapshots(store, Pages, { streams }), {
        outcome: 'same',
        verified: 1,
        skipped: [],
      })
      const Changed = defineAggregate({
        name: 'Pages',
        events: { Written: event<{ text: string }>() },
        initial: () => ({ texts: [] as readonly string[], length: 0 }),
        apply: {
          Written: ({ texts, length }, { text }) => ({ texts: [...texts, text], length: length + 1000 }),
        },
        snapshot: { version: 1, every: EVERY },
      })
      const other = await realm.open()
      assert.deepEqual(await verifySnapshots(other, Changed, { streams }), {
        outcome: 'different',
        verified: 1,
        different: [{ stream: 'Pages-a', revision: EVERY - 1, paths: ['state.length'] }],
        skipped: [],
      })
      const none = ['Pages-a', 'Pages-b']
      assert.deepEqual(await verifySnapshots(other, pagesOfVersion(2), { streams: none }), {
        outcome: 'nothing-verified',
        skipped: none,
      })
      if (store.capabilities.listsStreams) {
        await fill(realm, EVERY, 'b')
        assert.deepEqual(await verifySnapshots(store, Pages), { outcome: 'same', verified: 2, skipped: [] })
      }
    },
  )
}

/** Appends by commands, one event each. Closing waits for the snapshots. */
async function fill(realm: Realm, count: number, pages = 'a', change?: Change): Promise<void> {
  const store = await realm.open(change)
  for (const n of upTo(count)) await execute(store, write({ pages, texts: [String(n)] }))
  await store.close()
}

/** An adapter whose snapshots are kept in another way. */
function keeping(change: (keeper: SnapshotKeeper) => Partial<SnapshotKeeper>): Change {
  return (adapter) => {
    const keeper = adapter.snapshots!
    const snapshots: SnapshotKeeper = {
      get: (stream, name) => keeper.get(stream, name),
      put: (snapshot) => keeper.put(snapshot),
      delete: (stream) => keeper.delete(stream),
      ...change(keeper),
    }
    return changed(adapter, { snapshots })
  }
}

/** The snapshot as another connection sees it. */
async function keptOf(realm: Realm): Promise<Snapshot | undefined> {
  const adapter = await realm.connect()
  try {
    const kept = await adapter.snapshots!.get('Pages-a', 'Pages')
    return kept && { ...kept }
  } finally {
    await adapter.close()
  }
}

/** The state as a store without snapshots folds it. */
async function folding(realm: Realm) {
  const change: Change = (adapter) =>
    changed(adapter, { capabilities: { ...adapter.capabilities, snapshots: false } })
  return (await load(await realm.open(change), Pages('a'))).state
}

/** The state as a new process loads it, and where it began to read. */
async function loaded(realm: Realm, change: Change = (adapter) => adapter) {
  const reads: number[] = []
  const watch = (adapter: StoreAdapter) =>
    changed(adapter, {
      read: (request) => {
        reads.push(request.from ?? 0)
        return adapter.read(request)
      },
    })
  const store = await realm.open((adapter) => watch(change(adapter)))
  const { state } = await load(store, Pages('a'))
  await store.close()
  return { state, reads }
}
