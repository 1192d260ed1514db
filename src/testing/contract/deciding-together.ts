import assert from 'node:assert/strict'
import { OutcomeUnknownError, OverloadedError } from '../../base/errors.ts'
import { execute, tryExecute } from '../../execution/execute.ts'
import {
  Account,
  assertNeverOverdrawn,
  deposit,
  depositDirectly,
  noteRequest,
  stateAt,
  transfer,
  withdraw,
} from './accounts.ts'
import { afterAppend, beforeAppend, changed, gate } from './faults.ts'
import { drain, everything, failureOf } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { idsOf, upTo } from './sample-events.ts'

/** W3 and F4 where many commands wait for one stream: they are decided in sequence, and stand or fall together. */
export function decidingTogether(prove: Prove): void {
  for (const connections of [1, 2] as const) {
    prove(
      `W3: 64 concurrent commands on one stream all succeed with default options, over ${connections} connections`,
      async (store, realm) => {
        const stores = connections === 1 ? [store] : [store, await realm.open()]
        const results = await Promise.all(
          upTo(64).map((n) => execute(stores[n % connections]!, deposit({ account: 'a', amount: 1 }))),
        )
        const log = await everything(store)
        assert.deepEqual(idsOf(results.flatMap(({ events }) => events)).sort(), idsOf(log).sort())
        for (const { events, state, revisions, position } of results) {
          assert.deepEqual([...events], log.slice(events[0]!.revision, events[0]!.revision + 1))
          assert.equal(state.balance, events[0]!.revision + 1)
          assert.deepEqual([...revisions], [['Account-a', events[0]!.revision]])
          assert.equal(position, events[0]!.position)
        }
      },
    )

    prove(
      `W3: exactly as many of 64 concurrent withdrawals succeed as the balance allows, over ${connections} connections`,
      async (store, realm) => {
        const stores = connections === 1 ? [store] : [store, await realm.open()]
        await depositDirectly(store, 'a', 40)
        const outcomes = await Promise.all(
          upTo(64).map((n) => tryExecute(stores[n % connections]!, withdraw({ account: 'a', amount: 1 }))),
        )
        const rejections = outcomes.flatMap((outcome) => (outcome.ok ? [] : [outcome.rejection]))
        assert.deepEqual(
          rejections,
          upTo(24).map(() => ({ reason: 'insufficient-funds', balance: 0 })),
        )
        const log = await everything(store)
        assert.equal(log.length, 41)
        assertNeverOverdrawn(log)
      },
    )
  }

  prove(
    'W3: concurrent commands over many streams never overdraw an account and report what is stored',
    { needs: ['severalStreams'] },
    async (store, realm) => {
      const stores = [store, await realm.open()] as const
      const accounts = ['p', 'q', 'r'] as const
      for (const account of accounts) await depositDirectly(store, account, 20)
      const retry = { maxRetries: 200, maxDelay: 20 }
      const calls = upTo(120).map(async (n) => {
        const [from, to] = [accounts[n % 3]!, accounts[(n + 1 + (n % 2)) % 3]!]
        const own = stores[n % 2 === 0 ? 0 : 1]
        const amount = 1 + (n % 13)
        if (n % 4 === 0) return tryExecute(own, withdraw({ account: from, amount }), { retry })
        if (n % 4 === 1) return tryExecute(own, deposit({ account: from, amount }), { retry })
        return tryExecute(own, transfer({ from, to, amount }), { retry })
      })
      const outcomes = await Promise.all(calls)
      const log = await everything(store)
      assertNeverOverdrawn(log)
      const reported = outcomes.flatMap((outcome) => (outcome.ok ? [...outcome.events] : []))
      assert.deepEqual(idsOf(reported).sort(), idsOf(log.slice(3)).sort())
      for (const [n, outcome] of outcomes.entries()) {
        if (!outcome.ok) continue
        const states = n % 4 < 2 ? { from: outcome.state } : (outcome.state as object)
        for (const [i, state] of Object.values(states).entries()) {
          const account = i === 0 ? accounts[n % 3]! : accounts[(n + 1 + (n % 2)) % 3]!
          const revision = outcome.revisions.get(`Account-${account}`)
          assert.deepEqual(state, stateAt(log, account, revision as number))
        }
      }
    },
  )

  prove(
    'W3: commands that wait for one stream are all decided again when another writer appends in between',
    async (store, realm) => {
      let strangers = 0
      const interfering = await realm.open((adapter) =>
        changed(adapter, {
          append: async (request, signal) => {
            if (strangers < 5 && request.events.length > 0) {
              strangers++
              await adapter.append(noteRequest('a'))
            }
            return adapter.append(request, signal)
          },
        }),
      )
      const calls = upTo(64).map((n) =>
        n % 2 === 0
          ? tryExecute(interfering, deposit({ account: 'a', amount: 1 }), {
              retry: { maxRetries: n % 8, baseDelay: 1 },
            })
          : tryExecute(interfering, withdraw({ account: 'a', amount: 1 }), { retry: { baseDelay: 1 } }),
      )
      const outcomes = await Promise.allSettled(calls)
      const log = await drain(store.read(Account('a')))
      assertNeverOverdrawn(log)
      const reported = outcomes.flatMap((outcome) =>
        outcome.status === 'fulfilled' && outcome.value.ok ? [...outcome.value.events] : [],
      )
      const own = log.filter(({ type }) => type !== 'Account.Noted')
      assert.deepEqual(idsOf(reported).sort(), idsOf(own).sort())
      assert.equal(log.length - own.length, 5)
    },
  )

  prove(
    'W4: commands whose answer was lost are not decided again, and their events are stored once',
    async (store, realm) => {
      let losses = 1
      const unlucky = await realm.open(
        afterAppend(() => {
          if (losses-- > 0) throw new OutcomeUnknownError('the connection was lost while committing')
        }),
      )
      const outcomes = await Promise.allSettled(
        upTo(8).map(() => execute(unlucky, deposit({ account: 'a', amount: 1 }))),
      )
      const succeeded = outcomes.filter(({ status }) => status === 'fulfilled').length
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') assert.ok(outcome.reason instanceof OutcomeUnknownError)
      }
      assert.ok(succeeded < 8)
      assert.equal((await everything(store)).length, 8)
      const { state } = await execute(unlucky, deposit({ account: 'a', amount: 1 }))
      assert.equal(state.balance, 9)
    },
  )

  prove(
    'F4: a stalled store accepts maxPending commands, refuses the next, then recovers',
    async (store, realm) => {
      const stalled = gate(realm)
      const slow = await realm.open(
        beforeAppend(() => stalled.pass()),
        { maxPending: 8 },
      )
      const call = () => execute(slow, deposit({ account: 'a', amount: 1 }))
      const calls = upTo(8).map(call)
      const { pending } = await failureOf(OverloadedError, call)
      assert.equal(pending, 8)
      stalled.open()
      await Promise.all(calls)
      assert.equal((await call()).state.balance, 9)
      assert.equal(await store.head(Account('a')), 8)
    },
  )

  prove('F3: close waits for commands in flight, which succeed', async (store, realm) => {
    const calls = upTo(64).map((n) => execute(store, deposit({ account: `${n % 4}`, amount: 1 })))
    const closed = store.close()
    await Promise.all([...calls, closed])
    assert.equal((await everything(await realm.restart())).length, 64)
  })

  prove(
    'F3: close waits for commands with a key in flight, which succeed',
    { needs: ['keys'] },
    async (store, realm) => {
      const calls = upTo(20).map((n) =>
        execute(store, deposit({ account: 'a', amount: 1 }), { key: `k-${n}` }),
      )
      const closed = store.close()
      await Promise.all([...calls, closed])
      assert.equal((await everything(await realm.restart())).length, 20)
    },
  )
}
