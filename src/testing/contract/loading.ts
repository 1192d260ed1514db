import assert from 'node:assert/strict'
import { load } from '../../execution/load.ts'
import { execute } from '../../execution/execute.ts'
import { Account, deposit, depositDirectly, transfer } from './accounts.ts'
import { watchPages } from './faults.ts'
import type { Prove } from './prove.ts'
import { upTo } from './sample-events.ts'

/** R5: a state that is loaded is one that the store had during the call. */
export function loading(prove: Prove): void {
  prove('R5: load of a stream without events gives the initial state and none', async (store) => {
    assert.deepEqual(await load(store, Account('a')), { state: { balance: 0, notes: [] }, revision: 'none' })
    const { state, revisions } = await load(store, { one: Account('a'), more: [Account('b')] })
    assert.deepEqual(state, { one: { balance: 0, notes: [] }, more: [{ balance: 0, notes: [] }] })
    assert.deepEqual(revisions, new Map([Account('a'), Account('b')].map(({ stream }) => [stream, 'none'])))
  })

  prove('R5: load sees what another connection appended since the state was cached', async (store, realm) => {
    const other = await realm.open()
    for (const n of upTo(3)) {
      await execute(store, deposit({ account: 'a', amount: 1 }))
      await depositDirectly(other, 'a', 10)
      const { state, revision } = await load(store, Account('a'))
      assert.deepEqual([state.balance, revision], [11 * (n + 1), 2 * n + 1])
      assert.equal(await store.head(Account('a')), revision)
      assert.deepEqual((await load(other, { a: Account('a') })).state, { a: state })
    }
  })

  prove('R5: load of a long stream folds every event, and gives the revision to expect', async (store) => {
    const events = upTo(1_100).map(() => Account.events.Deposited({ amount: 1 }))
    await store.append({ stream: Account('a'), events })
    const { state, revision } = await load(store, Account('a'))
    assert.deepEqual([state.balance, revision], [1_100, 1_099])
    await store.append({ stream: Account('a'), events: events.slice(0, 1), expected: revision })
    assert.equal((await load(store, Account('a'))).state.balance, 1_101)
  })

  prove('R5: a loaded state is frozen', async (store) => {
    await depositDirectly(store, 'a', 1)
    for (const { balance, notes } of [(await load(store, Account('a'))).state]) {
      assert.equal(balance, 1)
      assert.ok(Object.isFrozen(notes))
    }
    assert.ok(Object.isFrozen((await load(store, Account('a'))).state))
  })

  prove(
    'R5: load of two streams never gives one before and one after a transfer between them',
    { needs: ['severalStreams'] },
    async (store, realm) => {
      const other = await realm.open()
      await depositDirectly(store, 'a', 100)
      await depositDirectly(store, 'b', 100)
      const progress = { isOver: false }
      const moving = (async () => {
        for (const n of upTo(30)) {
          const [from, to] = n % 2 === 0 ? ['a', 'b'] : ['b', 'a']
          await execute(other, transfer({ from: from, to: to, amount: 7 }))
        }
        progress.isOver = true
      })()
      const streams = { a: Account('a'), b: Account('b') }
      while (!progress.isOver) {
        const { state, revisions } = await load(store, streams)
        assert.equal(state.a.balance + state.b.balance, 200)
        assert.equal(revisions.get(Account('a').stream), revisions.get(Account('b').stream))
        await new Promise((resolve) => setImmediate(resolve))
      }
      await moving
      assert.deepEqual([...(await load(store, streams)).revisions.values()], [30, 30])
    },
  )

  prove(
    'R5: load of three streams ends beside a writer that changes all of them between any two reads',
    { needs: ['severalStreams'] },
    async (store, realm) => {
      const other = await realm.open()
      const streams = ['a', 'b', 'c'].map((id) => Account(id))
      const change = async () => {
        const events = [Account.events.Deposited({ amount: 1 })]
        await other.append(streams.map((stream) => ({ stream, events })))
      }
      await change()
      const disturbed = await realm.open(watchPages({ pages: [], returns: 0 }, change))
      for (const _ of upTo(3)) {
        const { state, revisions } = await load(disturbed, { all: streams })
        const [revision] = revisions.values()
        assert.deepEqual([...revisions.values()], [revision, revision, revision])
        for (const { balance } of state.all) assert.equal(balance, Number(revision) + 1)
      }
    },
  )
}
