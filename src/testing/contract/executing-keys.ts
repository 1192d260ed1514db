import assert from 'node:assert/strict'
import { KeyReusedError, OutcomeUnknownError } from '../../base/errors.ts'
import { defineCommand } from '../../model/command.ts'
import type { EventStore } from '../../store/event-store.ts'
import { execute, tryExecute } from '../../execution/execute.ts'
import { Account, deposit, depositDirectly, transfer, withdraw } from './accounts.ts'
import { afterAppend } from './faults.ts'
import { everything, failureOf, race } from './outcomes.ts'
import type { Prove } from './prove.ts'
import type { Proof } from './realm.ts'
import { upTo } from './sample-events.ts'

/** W4 for commands: one that is executed again under its key gives what it gave at first. */
export function executingKeys(prove: Prove): void {
  const proveKeys = (name: string, proof: Proof): void => prove(name, { needs: ['keys'] }, proof)

  proveKeys(
    'W4: one key executed by 20 callers at once gives 20 equal results and one append',
    async (store, realm) => {
      const stores = [store, await realm.open()]
      await depositDirectly(store, 'a', 100)
      const results = await Promise.all(
        upTo(20).map((n) => execute(stores[n % 2]!, withdraw({ account: 'a', amount: 60 }), { key: 'k' })),
      )
      assert.equal((await everything(store)).length, 2)
      assert.equal(results.filter(({ repeated }) => !repeated).length, 1)
      for (const { events, state, revisions, position } of results) {
        const first = results[0]!
        assert.deepEqual([events, state, position], [first.events, first.state, first.position])
        assert.deepEqual([...revisions], [['Account-a', 1]])
      }
      assert.equal(results[0]?.state.balance, 40)
    },
  )

  proveKeys(
    'W4: a key executed again after 10,000 other events and a restart gives the first result',
    async (store, realm) => {
      const command = () => deposit({ account: 'a', amount: 5 })
      const { attempts: _, ...first } = await execute(store, command(), { key: 'k' })
      for (const account of ['a', 'b']) {
        await store.append({
          stream: Account(account),
          events: upTo(5_000).map(() => Account.events.Noted({ text: '' })),
        })
      }
      for (const again of [store, await realm.restart()]) {
        if (again === store) continue
        const head = await again.logHead()
        const { attempts: __, ...repeated } = await execute(again, command(), { key: 'k' })
        assert.deepEqual(repeated, { ...first, repeated: true })
        assert.equal(await again.logHead(), head)
      }
    },
  )

  proveKeys(
    'W4: a command that would now be rejected still gives its first result under its key',
    async (store, realm) => {
      await depositDirectly(store, 'a', 10)
      const command = () => withdraw({ account: 'a', amount: 10 })
      await execute(store, command(), { key: 'k' })
      for (const each of [store, await realm.open()]) {
        const outcome = await tryExecute(each, command(), { key: 'k' })
        assert.ok(outcome.ok && outcome.repeated)
        assert.equal(outcome.state.balance, 0)
        const { ok } = await tryExecute(each, command())
        assert.equal(ok, false)
      }
    },
  )

  proveKeys('W4: a command with a used key and another input fails and writes nothing', async (store) => {
    await execute(store, deposit({ account: 'a', amount: 5 }), { key: 'k' })
    for (const input of [
      { account: 'a', amount: 6 },
      { account: 'b', amount: 5 },
    ]) {
      const { key } = await failureOf(KeyReusedError, () => execute(store, deposit(input), { key: 'k' }))
      assert.equal(key, 'k')
    }
    assert.equal((await everything(store)).length, 1)
    assert.ok((await execute(store, deposit({ amount: 5, account: 'a' }), { key: 'k' })).repeated)
  })

  proveKeys(
    'W4: one of several concurrent inputs under one key wins and the others fail',
    async (store, realm) => {
      const stores = [store, await realm.open()]
      const { won } = await race(
        upTo(12).map((n) =>
          execute(stores[n % 2]!, deposit({ account: 'a', amount: 1 + (n % 3) }), { key: 'k' }),
        ),
        KeyReusedError,
      )
      assert.equal(won.length, 4)
      assert.equal((await everything(store)).length, 1)
    },
  )

  proveKeys('W4: a rejected command keeps no key', async (store) => {
    const command = () => withdraw({ account: 'a', amount: 10 })
    assert.equal((await tryExecute(store, command(), { key: 'k' })).ok, false)
    await depositDirectly(store, 'a', 10)
    const outcome = await tryExecute(store, command(), { key: 'k' })
    assert.ok(outcome.ok && !outcome.repeated)
  })

  proveKeys(
    'W4: 64 concurrent commands on one stream are each kept under their own key',
    async (store, realm) => {
      const command = (n: number) => deposit({ account: 'a', amount: 1 + n })
      const first = await Promise.all(upTo(64).map((n) => execute(store, command(n), { key: `k-${n}` })))
      const reopened = await realm.restart()
      const again = await Promise.all(upTo(64).map((n) => execute(reopened, command(n), { key: `k-${n}` })))
      for (const [n, { events, state, revisions, position, repeated }] of again.entries()) {
        const { attempts: _, ok: __, ...expected } = first[n]!
        assert.deepEqual({ events, state, revisions, position, repeated }, { ...expected, repeated: true })
      }
      assert.equal((await everything(reopened)).length, 64)
    },
  )

  proveKeys('W4: used and new keys executed at once each get their own outcome', async (store) => {
    const call = (n: number) => execute(store, deposit({ account: 'a', amount: 1 }), { key: `k-${n}` })
    await Promise.all(upTo(10).map(call))
    const results = await Promise.all(upTo(20).map(call))
    assert.deepEqual(
      results.map(({ repeated }) => repeated),
      upTo(20).map((n) => n < 10),
    )
    assert.equal((await everything(store)).length, 20)
    for (const { events, state } of results) assert.equal(state.balance, events[0]!.revision + 1)
  })

  proveKeys(
    'W4: a command whose answer was lost, executed again under its key, is stored once',
    async (store, realm) => {
      let losses = 1
      const unlucky = await realm.open(
        afterAppend(() => {
          if (losses-- > 0) throw new OutcomeUnknownError('the connection was lost while committing')
        }),
      )
      const command = () => deposit({ account: 'a', amount: 5 })
      await failureOf(OutcomeUnknownError, () => execute(unlucky, command(), { key: 'k' }))
      const { repeated, state } = await execute(unlucky, command(), { key: 'k' })
      assert.deepEqual([repeated, state.balance], [true, 5])
      assert.equal((await everything(store)).length, 1)
    },
  )

  proveKeys(
    'W4: a key is compared by what the command says, so that a new id of the server does not matter',
    async (store, realm) => {
      let made = 0
      const open = defineCommand({
        keyedBy: ({ text }) => text,
        reads: ({ id }: { id: string; text: string }) => Account(id),
        handle: (_, { text }) => Account.events.Noted({ text }),
      })
      const call = (on: EventStore, text = 'first') =>
        execute(on, open({ id: `new-${made++}`, text }), { key: 'k' })
      const { attempts: _, ...first } = await call(store)
      await store.append({
        stream: first.events[0]!.stream,
        events: [Account.events.Noted({ text: 'later' })],
      })
      for (const each of [store, await realm.restart()]) {
        if (each === store) continue
        const { attempts: __, ...again } = await call(each)
        assert.deepEqual(again, { ...first, repeated: true })
        await failureOf(KeyReusedError, () => call(each, 'second'))
        assert.equal((await everything(each)).length, 2)
      }
    },
  )

  prove(
    'W4: new ids of the server do not matter over several streams either',
    { needs: ['keys', 'severalStreams'] },
    async (store) => {
      let made = 0
      const open = defineCommand({
        keyedBy: ({ amount }) => amount,
        reads: ({ ids }: { ids: readonly string[]; amount: number }) => ({
          bank: Account('bank'),
          created: ids.map((id) => Account(id)),
        }),
        handle: ({ bank, created }, { amount }, { on }) => [
          ...created.map((_, i) => on.created(i, Account.events.Deposited({ amount: amount + i }))),
          on.bank(Account.events.Deposited({ amount: bank.balance + amount })),
        ],
      })
      const call = () => {
        const ids = [`z-${9 - made}`, `a-${made++}`]
        return execute(store, open({ ids, amount: 5 }), { key: 'k' })
      }
      await depositDirectly(store, 'bank', 1)
      const first = await call()
      for (const _ of upTo(2)) {
        const again = await call()
        assert.deepEqual(again.state, first.state)
        assert.deepEqual(again.revisions, first.revisions)
        assert.deepEqual(again.events, first.events)
        assert.ok(again.repeated)
      }
      assert.equal((await everything(store)).length, 4)
    },
  )

  prove(
    'W4: a key used again over two streams gives both states of the first result',
    { needs: ['keys', 'severalStreams'] },
    async (store, realm) => {
      await depositDirectly(store, 'a', 100)
      const command = () => transfer({ from: 'a', to: 'b', amount: 30 })
      const results = await Promise.all(upTo(8).map(() => execute(store, command(), { key: 'k' })))
      for (const account of ['a', 'b']) await depositDirectly(store, account, 1_000)
      results.push(await execute(await realm.restart(), command(), { key: 'k' }))
      for (const { state, revisions } of results) {
        assert.deepEqual([state.from.balance, state.to.balance], [70, 30])
        assert.deepEqual([...revisions].sort(), [
          ['Account-a', 1],
          ['Account-b', 0],
        ])
      }
      assert.equal(results.filter(({ repeated }) => !repeated).length, 1)
    },
  )
}
