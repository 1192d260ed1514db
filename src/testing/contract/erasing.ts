import assert from 'node:assert/strict'
import {
  ConflictError,
  InvalidArgumentError,
  MnemeError,
  StreamDeletedError,
  StreamTruncatedError,
  UnsupportedError,
} from '../../base/errors.ts'
import { execute, tryExecute } from '../../execution/execute.ts'
import { load } from '../../execution/load.ts'
import { defineAggregate } from '../../model/aggregate.ts'
import { defineCommand } from '../../model/command.ts'
import { erasures } from '../../model/erasures.ts'
import { event } from '../../model/event-spec.ts'
import type { EventStore } from '../../store/event-store.ts'
import { Account, deposit, depositDirectly, transfer, withdraw } from './accounts.ts'
import { changed, watchPages, type Watched } from './faults.ts'
import { drain, everything, failureOf, nothingWritten } from './outcomes.ts'
import type { Demands, Prove } from './prove.ts'
import { happened, happenings, identified, numbersOf, revisionsOf, upTo } from './sample-events.ts'

const needs: Demands = { needs: ['truncation'] }
const needsAtOnce: Demands = { needs: ['truncation', 'erasesAtOnce'] }

/** E3 and E4: streams that are truncated or deleted, alike on every store. */
export function erasing(prove: Prove): void {
  prove(
    'E4: a truncated stream gives what is left, stands where it stood, and goes on',
    needs,
    async (store, realm) => {
      const other = await realm.open()
      await store.append({ stream: 'a', events: happenings(6) })
      await store.truncate('a', { before: 4 })
      for (const each of [store, other, await realm.open()]) {
        assert.deepEqual(numbersOf(await drain(each.read('a'))), [4, 5])
        assert.deepEqual(numbersOf(await drain(each.read('a', { direction: 'backwards' }))), [5, 4])
        assert.deepEqual(numbersOf(await drain(each.read('a', { from: 2, limit: 1 }))), [4])
        assert.deepEqual(await drain(each.read('a', { to: 3 })), [])
        assert.equal(await each.head('a'), 5)
        const page = await each.readPage('a', { limit: 1 })
        assert.deepEqual([page.head, page.next, numbersOf(page.events)], [5, 5, [4]])
      }
      const conflict = await failureOf(ConflictError, () =>
        other.append({ stream: 'a', events: happenings(1), expected: 'none' }),
      )
      assert.equal(conflict.actual, 5)
      await other.append({ stream: 'a', events: happenings(1, 6), expected: 5 })
      await store.append({ stream: 'a', events: happenings(1, 7), expected: 'exists' })
      const reopened = await realm.restart()
      assert.deepEqual(numbersOf(await drain(reopened.read('a'))), [4, 5, 6, 7])
      assert.deepEqual(revisionsOf(await drain(reopened.read('a'))), [4, 5, 6, 7])
    },
  )

  prove('E4: of a stream that is truncated at its end, nothing is left', needs, async (store, realm) => {
    const account = Account('a')
    for (const amount of [1, 2, 3]) await depositDirectly(store, 'a', amount)
    await store.truncate(account, { before: 3 })
    const other = await realm.open()
    for (const each of [store, other]) {
      assert.deepEqual(await drain(each.read(account)), [])
      assert.deepEqual(await drain(each.read(account, { direction: 'backwards' })), [])
      assert.equal(await each.head(account), 2)
      await failureOf(StreamTruncatedError, () => load(each, account))
      await failureOf(StreamTruncatedError, () => execute(each, deposit({ account: 'a', amount: 1 })))
    }
    await store.append({ stream: account, events: [Account.events.Noted({ text: 'n' })], expected: 2 })
    assert.deepEqual(revisionsOf(await drain(other.read(account))), [3])
  })

  prove(
    'E4: no state is folded without its beginning; a process with a state from before goes on',
    needs,
    async (store, realm) => {
      for (const amount of [1, 2, 3]) await execute(store, deposit({ account: 'a', amount }))
      const other = await realm.open()
      await other.truncate(Account('a'), { before: 2 })
      const error = await failureOf(StreamTruncatedError, () =>
        execute(other, withdraw({ account: 'a', amount: 6 })),
      )
      assert.deepEqual([error.stream, error.firstRevision], [Account('a').stream, 2])
      await failureOf(StreamTruncatedError, () => load(other, Account('a')))
      await failureOf(StreamTruncatedError, () => execute(other, transfer({ from: 'a', to: 'b', amount: 1 })))
      if (store.capabilities.severalStreams) await execute(store, transfer({ from: 'a', to: 'b', amount: 1 }))
      const { state } = await execute(store, withdraw({ account: 'a', amount: 5 }))
      assert.equal(state.balance, store.capabilities.severalStreams ? 0 : 1)
    },
  )

  prove(
    'E4: a stream that is truncated while it is folded gives no state without its beginning',
    needs,
    async (store, realm) => {
      const stream = Account('a')
      const events = upTo(2_000).map(() => Account.events.Deposited({ amount: 1 }))
      for (const first of [0, 1_000])
        await store.append({ stream, events: events.slice(first, first + 1_000) })
      const watched: Watched = { pages: [], returns: 0 }
      let isErased = false
      const reader = await realm.open(
        watchPages(watched, async () => {
          if (isErased || watched.pages.length === 0) return
          isErased = true
          await store.truncate(stream, { before: 2_000 })
        }),
      )
      const outcome = await load(reader, stream).catch((error: unknown) => error)
      assert.ok(isErased)
      // Pages that were asked for before may still come.
      if (outcome instanceof StreamTruncatedError) return
      assert.deepEqual(outcome, { state: { balance: 2_000, notes: [] }, revision: 1_999 })
    },
  )

  prove('E4: truncating goes only forwards, and not beyond the end', needs, async (store) => {
    await store.append({ stream: 'a', events: happenings(6) })
    const { position } = await store.truncate('a', { before: 3 })
    assert.ok(position !== undefined)
    await nothingWritten(store, async () => {
      for (const before of [0, 2, 3]) {
        assert.deepEqual(await store.truncate('a', { before }), { position: undefined })
      }
      assert.deepEqual(await store.truncate('new', { before: 0 }), { position: undefined })
      const error = await failureOf(InvalidArgumentError, () => store.truncate('a', { before: 7 }))
      assert.match(error.message, /ends at revision 5; give at most 6/)
      await failureOf(InvalidArgumentError, () => store.truncate('new', { before: 1 }))
      for (const before of [-1, 1.5, '3', undefined]) {
        await failureOf(InvalidArgumentError, () => store.truncate('a', { before } as never))
      }
      await failureOf(InvalidArgumentError, () => store.truncate('a', { upTo: 3 } as never))
    })
    assert.deepEqual(numbersOf(await drain(store.read('a'))), [3, 4, 5])
  })

  prove('E4: an erasure that was decided on an earlier head is refused', needs, async (store, realm) => {
    await store.append({ stream: 'a', events: happenings(3) })
    await (await realm.open()).append({ stream: 'a', events: happenings(1, 3) })
    await nothingWritten(store, async () => {
      for (const expected of ['none', 2, 4] as const) {
        for (const erase of [
          () => store.truncate('a', { before: 3, expected }),
          () => store.delete('a', { expected }),
        ]) {
          const { stream, actual } = await failureOf(ConflictError, erase)
          assert.deepEqual([stream, actual], ['a', 3])
        }
      }
      const { actual } = await failureOf(ConflictError, () => store.delete('new'))
      assert.equal(actual, 'none')
      await failureOf(ConflictError, () => store.truncate('new', { before: 0, expected: 'exists' }))
    })
    assert.equal((await drain(store.read('a'))).length, 4)
    await store.truncate('a', { before: 1, expected: 3 })
    await store.delete('a', { expected: 3 })
  })

  prove(
    'E3: a deleted stream is deleted for good, by every call that names it',
    needs,
    async (store, realm) => {
      const account = Account('a')
      const other = await realm.open()
      await execute(store, deposit({ account: 'a', amount: 5 }))
      // Cached, in this process and in another.
      await execute(other, withdraw({ account: 'a', amount: 1 }))
      await other.append({ stream: account, events: [Account.events.Noted({ text: 'n' })], expected: 1 })
      await store.delete(account)
      for (const each of [store, other, await realm.open()]) await isDeleted(each, 'a')
      await isDeleted(await realm.restart(), 'a')
    },
  )

  prove(
    'E3: a stream that never was can be deleted, so that it never begins',
    needs,
    async (store, realm) => {
      await store.delete(Account('a'), { expected: 'none' })
      await store.delete(Account('b'), { expected: 'any' })
      for (const each of [store, await realm.open()]) {
        await isDeleted(each, 'a')
        await isDeleted(each, 'b')
      }
    },
  )

  prove('E3: no append that races a deletion brings the stream back', needs, async (store, realm) => {
    const stores = [store, await realm.open(), await realm.open()]
    for (const round of upTo(4)) {
      const stream = `a-${String(round)}`
      await store.append({ stream, events: [happened(0)] })
      const appends = upTo(24).map(async (i) => {
        const each = stores[i % 3]!
        const expected = i % 4 === 0 ? 'exists' : i % 4 === 1 ? await each.head(stream) : 'any'
        await each.append({ stream, events: [happened(i)], expected })
      })
      const deletions = [stores[1]!.delete(stream), stores[2]!.delete(stream)]
      const outcomes = await Promise.allSettled([...deletions, ...appends])
      const failures = outcomes.flatMap((outcome) =>
        outcome.status === 'rejected' ? [outcome.reason as unknown] : [],
      )
      for (const failure of failures) {
        const isExpected = failure instanceof StreamDeletedError || failure instanceof ConflictError
        if (!isExpected) throw failure
      }
      const won = outcomes.slice(0, 2).filter(({ status }) => status === 'fulfilled')
      assert.equal(won.length, 1)
      for (const each of stores) {
        await failureOf(StreamDeletedError, () => drain(each.read(stream)))
        await failureOf(StreamDeletedError, () => each.append({ stream, events: [happened(0)] }))
      }
    }
  })

  prove(
    'E4: erased events are gone from the log at once, those around them are not, and filters find them',
    needsAtOnce,
    async (store, realm) => {
      const types = ['Thing.A', 'Thing.B']
      const eventsOf = (stream: string, first: number) =>
        upTo(4).map((i) => ({
          stream,
          events: [{ type: types[(first + i) % 2]!, data: { n: first + i } }],
        }))
      const streams = ['x-1', 'x-2', 'y-1']
      await store.append(streams.flatMap((stream, i) => eventsOf(stream, 10 * i)))
      await store.append(streams.flatMap((stream, i) => eventsOf(stream, 10 * i + 4)))
      const before = await everything(store)
      await store.truncate('x-1', { before: 5 })
      await store.delete('y-1')
      const left = before.filter(
        ({ stream, revision }) => stream === 'x-2' || (stream === 'x-1' && revision >= 5),
      )
      for (const each of [store, await realm.open()]) {
        const log = (await everything(each)).filter(({ stream }) => stream !== 'mneme-erasures')
        assert.deepEqual(log, left)
        for (const filter of [
          { types: ['Thing.A'] },
          { types: ['Thing.B'] },
          { categories: ['x'] },
          { categories: ['y'] },
          { streams: ['x-1', 'y-1'] },
          { streams: ['x-2'], types: ['Thing.B'] },
          { categories: ['x'], types: ['Thing.A'] },
        ]) {
          const { categories, streams: names, types: ofTypes } = filter
          const expected = left.filter(
            ({ stream, type }) =>
              (!categories || categories.includes(stream.slice(0, 1))) &&
              (!names || names.includes(stream)) &&
              (!ofTypes || ofTypes.includes(type)),
          )
          assert.deepEqual(await drain(each.readAll(filter)), expected)
          assert.deepEqual(
            await drain(each.readAll({ ...filter, direction: 'backwards' })),
            expected.toReversed(),
          )
        }
      }
    },
  )

  prove(
    'E4: subscribers are told of erasures, in the order of the store, with who asked for them',
    needs,
    async (store, realm) => {
      await store.append({ stream: 'a', events: happenings(3) })
      await store.append({ stream: 'b', events: happenings(1) })
      const live = store.subscribe({ types: Object.values(erasures) })
      const truncated = await (await realm.open()).truncate('a', { before: 2, metadata: { actor: 'eve' } })
      const deleted = await store.delete('b', { metadata: { actor: 'adam' } })
      const expected = [
        ['mneme.StreamTruncated', { stream: 'a', before: 2 }, { actor: 'eve' }, truncated.position],
        ['mneme.StreamDeleted', { stream: 'b' }, { actor: 'adam' }, deleted.position],
      ]
      const late = (await realm.open()).subscribe({ types: Object.values(erasures) })
      for (const subscription of [live, late]) {
        const told: unknown[] = []
        for await (const { type, data, metadata, position } of subscription) {
          if (told.push([type, data, metadata, position]) === expected.length) break
        }
        assert.deepEqual(told, expected)
      }
      assert.deepEqual(
        await drain(store.read('mneme-erasures')),
        await drain(store.readAll({ types: Object.values(erasures) })),
      )
    },
  )

  prove('R2: a checkpoint on an event that was erased goes on', needs, async (store, realm) => {
    await store.append({ stream: 'a', events: happenings(4) })
    await store.append({ stream: 'b', events: happenings(1, 4) })
    const subscription = store.subscribe()
    await subscription.next()
    await subscription.next()
    const { checkpoint } = subscription
    await subscription.return?.()
    await store.truncate('a', { before: 4 })
    await store.append({ stream: 'b', events: happenings(1, 5) })
    for (const each of [store, await realm.open()]) {
      const seen: number[] = []
      for await (const { data, stream } of each.subscribe({ from: checkpoint! })) {
        if (stream === 'b') seen.push((data as { n: number }).n)
        if (seen.length === 2) break
      }
      assert.deepEqual(seen, [4, 5])
    }
  })

  prove(
    'W4: a repeat of an append whose events were erased is not appended again',
    needs,
    async (store, realm) => {
      const write = { stream: 'a', events: identified(happenings(2)), expected: 'none' } as const
      await store.append(write)
      await store.append({ stream: 'a', events: happenings(2, 2) })
      const key = store.capabilities.keys ? 'key' : undefined
      if (key) await store.append({ stream: 'a', events: happenings(1, 4) }, { key })
      await store.truncate('a', { before: 5 - (key ? 0 : 1) })
      const other = await realm.open()
      const isRefusedOrRepeated = async (call: () => Promise<{ readonly repeated: boolean }>) => {
        const outcome = await call().catch((error: unknown) => error)
        if (outcome instanceof StreamTruncatedError || outcome instanceof ConflictError) return
        if (outcome instanceof StreamDeletedError) return
        assert.equal((outcome as { readonly repeated?: boolean }).repeated, true, String(outcome))
      }
      for (const each of [store, other]) {
        await nothingWritten(store, async () => {
          await isRefusedOrRepeated(() => each.append(write))
          if (key)
            await isRefusedOrRepeated(() => each.append({ stream: 'a', events: happenings(1, 4) }, { key }))
        })
      }
      await store.delete('a')
      for (const each of [store, other]) {
        await nothingWritten(store, async () => {
          await failureOf(StreamDeletedError, () => each.append(write))
          if (key)
            await isRefusedOrRepeated(() => each.append({ stream: 'a', events: happenings(1, 4) }, { key }))
        })
      }
    },
  )

  prove(
    'E4: a snapshot goes with its event, and none is kept of an event that was erased',
    { needs: ['truncation', 'snapshots'] },
    async (store, realm) => {
      const { events } = await store.append({ stream: 'a', events: happenings(6) })
      const adapter = await realm.connect()
      try {
        const keeper = adapter.snapshots!
        const put = (revision: number) =>
          keeper.put({ stream: 'a', name: 'n', revision, id: events[revision]!.id, content: '{}' })
        const kept = async () => (await keeper.get('a', 'n'))?.revision
        assert.equal(await put(2), true)
        await store.truncate('a', { before: 3 })
        assert.deepEqual([await kept(), await put(2), await kept()], [undefined, false, undefined])
        assert.equal(await put(4), true)
        await store.truncate('a', { before: 4 })
        assert.equal(await kept(), 4)
        await store.delete('a')
        assert.deepEqual([await kept(), await put(4), await kept()], [undefined, false, undefined])
      } finally {
        await adapter.close()
      }
    },
  )

  prove(
    'E4: a truncated stream is loaded from a snapshot of what is left',
    { needs: ['truncation', 'snapshots'] },
    async (store, realm) => {
      for (const amount of [1, 2, 3, 4, 5]) await execute(store, saveSome({ saving: 'a', amount }))
      const restarted = await realm.restart()
      await restarted.truncate(Saving('a'), { before: 3 })
      for (const each of [restarted, await realm.open()]) {
        assert.deepEqual((await load(each, Saving('a'))).state, { total: 15 })
      }
      const { state } = await execute(await realm.open(), saveSome({ saving: 'a', amount: 6 }))
      assert.equal(state.total, 21)
    },
  )

  prove(
    'R6: streams of which nothing is left are not listed, and of others what is left is counted',
    { needs: ['truncation', 'listsStreams'] },
    async (store, realm) => {
      for (const stream of ['a-1', 'a-2', 'a-3', 'b-1']) await store.append({ stream, events: happenings(3) })
      await store.truncate('a-1', { before: 2 })
      await store.truncate('a-2', { before: 3 })
      await store.delete('a-3')
      for (const each of [store, await realm.open()]) {
        const listed = await drain(each.streams({ category: 'a' }))
        assert.deepEqual(listed, [{ stream: 'a-1', revision: 2, events: 1 }])
        const page = await drain(each.streams({ limit: 2 }))
        assert.deepEqual(
          page.map(({ stream }) => stream),
          ['a-1', 'b-1'],
        )
      }
    },
  )

  prove('F1: only the store appends to the stream of erasures', needs, async (store) => {
    await nothingWritten(store, async () => {
      const stream = 'mneme-erasures'
      await failureOf(InvalidArgumentError, () => store.append({ stream, events: happenings(1) }))
      await failureOf(InvalidArgumentError, () => store.delete(stream, { expected: 'any' }))
      await failureOf(InvalidArgumentError, () => store.truncate(stream, { before: 0 }))
      assert.equal(await store.head(stream), 'none')
    })
  })

  prove('F1: a store that does not truncate or delete streams says so', async (_, realm) => {
    const store = await realm.open((adapter) =>
      changed(adapter, { capabilities: { ...adapter.capabilities, truncation: false } }),
    )
    await store.append({ stream: 'a', events: happenings(1) })
    await failureOf(UnsupportedError, () => store.truncate('a', { before: 1 }))
    await failureOf(UnsupportedError, () => store.delete('a'))
  })
}

/** An aggregate with snapshots. */
const Saving = defineAggregate({
  name: 'Saving',
  events: { Saved: event<{ amount: number }>() },
  initial: () => ({ total: 0 }),
  apply: { Saved: ({ total }, { amount }) => ({ total: total + amount }) },
  snapshot: { version: 1, every: 4 },
})
const saveSome = defineCommand({
  reads: (input: { saving: string; amount: number }) => Saving(input.saving),
  handle: (_, { amount }) => Saving.events.Saved({ amount }),
})

/** Every call that names a deleted account fails, and writes nothing. */
async function isDeleted(store: EventStore, account: string): Promise<void> {
  const stream = Account(account)
  const events = [Account.events.Noted({ text: 'n' })]
  await nothingWritten(store, async () => {
    const calls: Record<string, () => unknown> = {
      read: () => drain(store.read(stream)),
      'read backwards': () => drain(store.read(stream, { direction: 'backwards' })),
      readPage: () => store.readPage(stream),
      head: () => store.head(stream),
      load: () => load(store, stream),
      execute: () => execute(store, deposit({ account, amount: 1 })),
      'a rejection': () => tryExecute(store, withdraw({ account, amount: 1_000 })),
      truncate: () => store.truncate(stream, { before: 0 }),
      delete: () => store.delete(stream, { expected: 'any' }),
    }
    for (const expected of ['any', 'none', 'exists', 0, 2] as const) {
      calls[`append under ${String(expected)}`] = () => store.append({ stream, events, expected })
      if (expected === 'any') continue
      calls[`no events under ${String(expected)}`] = () => store.append({ stream, expected })
    }
    if (store.capabilities.severalStreams) {
      calls['append to another stream, too'] = () =>
        store.append([
          { stream: 'other', events: happenings(1) },
          { stream, events },
        ])
      calls['read by an append to another stream'] = () =>
        store.append([
          { stream: 'other', events: happenings(1) },
          { stream, expected: 0 },
        ])
      calls['several streams loaded'] = () => load(store, { stream, other: Account('other') })
      calls['a command over several streams'] = () =>
        execute(store, transfer({ from: 'other', to: account, amount: 0 }))
    }
    for (const [name, call] of Object.entries(calls)) {
      const error = await failureOf(MnemeError as never, call).catch((cause: unknown) => {
        throw new Error(`${name}: ${String(cause)}`)
      })
      assert.ok(error instanceof StreamDeletedError, `${name}: ${String(error)}`)
      assert.equal(error.stream, stream.stream)
    }
  })
}
