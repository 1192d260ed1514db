import assert from 'node:assert/strict'
import { defineCommand, reject } from '../../model/command.ts'
import { execute, tryExecute } from '../../execution/execute.ts'
import {
  Account,
  audit,
  depositDirectly,
  noteRequest,
  transfer,
  withdraw,
  withdrawCovered,
} from './accounts.ts'
import type { Revision } from '../../base/revision.ts'
import { beforeAppend, changed } from './faults.ts'
import { drain, everything, nextTurn } from './outcomes.ts'
import type { Demands, Prove } from './prove.ts'
import type { Change } from './realm.ts'
import { upTo } from './sample-events.ts'

const several: Demands = { needs: ['severalStreams'] }

/** W3: no decision stands on stale state, whether it appends something or not. */
export function deciding(prove: Prove): void {
  prove(
    'W3: a command decides on events that another connection appended, although its state was cached',
    async (store, realm) => {
      const other = await realm.open()
      for (const n of upTo(10)) {
        await depositDirectly(other, 'a', 10)
        const { state, revisions, attempts } = await execute(store, withdraw({ account: 'a', amount: 10 }))
        assert.equal(state.balance, 0)
        assert.equal(revisions.get('Account-a'), n * 2 + 1)
        assert.ok(attempts <= 2)
      }
    },
  )

  for (const way of ['a rejection', 'no events', 'a thrown error'] as const) {
    const single = defineCommand({
      reads: (account: string) => Account(account),
      handle: ({ balance }) => onlyAtZero(balance, way),
    })
    const joint = defineCommand({
      reads: (account: string) => ({ one: Account(account), two: Account('other') }),
      handle: ({ one }) => onlyAtZero(one.balance, way) as [],
    })

    prove(`W3: a command that gave ${way} on an outdated state is decided again`, async (store, realm) => {
      const other = await realm.open()
      await depositDirectly(other, 'a', 10)
      assert.deepEqual(await outcomeOf(tryExecute(store, single('a'))), way)
      await execute(other, withdraw({ account: 'a', amount: 10 }))
      assert.deepEqual(await outcomeOf(tryExecute(store, single('a'))), 'at zero')
      await depositDirectly(other, 'a', 10)
      assert.deepEqual(await outcomeOf(tryExecute(store, single('a'))), way)
      assert.equal((await everything(other)).length, 3)
    })

    prove(
      `W3: a command that gave ${way} on several streams, one of them outdated, is decided again`,
      several,
      async (store, realm) => {
        const other = await realm.open()
        await depositDirectly(other, 'a', 10)
        assert.deepEqual(await outcomeOf(tryExecute(store, joint('a'))), way)
        await execute(other, withdraw({ account: 'a', amount: 10 }))
        assert.deepEqual(await outcomeOf(tryExecute(store, joint('a'))), 'at zero')
        await depositDirectly(other, 'a', 10)
        assert.deepEqual(await outcomeOf(tryExecute(store, joint('a'))), way)
        assert.equal((await everything(other)).length, 3)
      },
    )
  }

  prove(
    "W3: exactly one of two commands that each rely on the other's account succeeds",
    several,
    async (store, realm) => {
      const stores = [store, await realm.open()] as const
      for (const round of upTo(16)) {
        const [a, b] = [`a-${round}`, `b-${round}`] as const
        for (const account of [a, b]) await depositDirectly(store, account, 50)
        const [first, second] = round % 2 === 0 ? ([a, b] as const) : ([b, a] as const)
        const outcomes = await Promise.all([
          tryExecute(store, withdrawCovered({ account: first, cover: second, amount: 80 })),
          tryExecute(
            stores[round % 4 < 2 ? 1 : 0],
            withdrawCovered({ account: second, cover: first, amount: 80 }),
          ),
        ])
        assert.deepEqual(outcomes.map(({ ok }) => ok).sort(), [false, true], `round ${round}`)
      }
    },
  )

  prove(
    'W3: a command is decided again when a stream that it only reads changes before its append',
    several,
    async (store, realm) => {
      await depositDirectly(store, 'cover', 100)
      const interfering = await realm.open(
        once(() => execute(store, withdraw({ account: 'cover', amount: 100 }))),
      )
      const command = withdrawCovered({ account: 'a', cover: 'cover', amount: 80 })
      const outcome = await tryExecute(interfering, command)
      const revisions = new Map<string, Revision>([
        ['Account-a', 'none'],
        ['Account-cover', 1],
      ])
      assert.deepEqual(outcome, { ok: false, rejection: { reason: 'not-covered' }, revisions, attempts: 2 })
      assert.equal(await store.head(Account('a')), 'none')
    },
  )

  prove(
    'W3: a command is decided again when a stream that it follows changes before its append',
    several,
    async (store, realm) => {
      const follow = defineCommand({
        reads: (from: string) => ({ from: Account(from) }),
        follow: ({ from }) => ({ to: Account(from.notes[0] ?? 'nobody') }),
        handle: ({ to }, _, { on }) =>
          to.balance > 0 ? on.from(Account.events.Deposited({ amount: to.balance })) : reject('empty'),
      })
      await store.append({ stream: Account('a'), events: [Account.events.Noted({ text: 'b' })] })
      await depositDirectly(store, 'b', 10)
      const interfering = await realm.open(once(() => execute(store, withdraw({ account: 'b', amount: 10 }))))
      const outcome = await tryExecute(interfering, follow('a'))
      const revisions = new Map<string, Revision>([
        ['Account-a', 0],
        ['Account-b', 1],
      ])
      assert.deepEqual(outcome, { ok: false, rejection: { reason: 'empty' }, revisions, attempts: 2 })
    },
  )

  prove('W3: a torn read of two streams is never reported', several, async (store, realm) => {
    await depositDirectly(store, 'left', 50)
    await depositDirectly(store, 'right', 50)
    for (const [from, to] of [
      ['left', 'right'],
      ['right', 'left'],
    ] as const) {
      const torn = await realm.open(betweenTwoReads(() => execute(store, transfer({ from, to, amount: 20 }))))
      for (const _ of upTo(3)) {
        const outcome = await tryExecute(torn, audit({ left: 'left', right: 'right' }))
        assert.deepEqual(outcome.ok ? undefined : outcome.rejection, { reason: 'audited', total: 100 })
      }
    }
  })

  prove(
    'W3: the sum of two accounts is never misreported while transfers run between them',
    several,
    async (store, realm) => {
      const other = await realm.open()
      await depositDirectly(store, 'left', 100)
      const moves = Promise.all(
        upTo(30).map((n) => {
          const [from, to] = n % 2 === 0 ? (['left', 'right'] as const) : (['right', 'left'] as const)
          return tryExecute(other, transfer({ from, to, amount: 10 }), {
            retry: { maxRetries: 100 },
          })
        }),
      )
      for (const _ of upTo(30)) {
        const outcome = await tryExecute(store, audit({ left: 'left', right: 'right' }), {
          retry: { maxRetries: 100 },
        })
        assert.deepEqual(outcome.ok ? undefined : outcome.rejection, { reason: 'audited', total: 100 })
        await nextTurn()
      }
      await moves
    },
  )

  for (const through of ['the same connection', 'another connection'] as const) {
    prove(
      `W3: a decision on an uncommitted event is discarded with it, although an event of ${through} takes its revision`,
      async (store, realm) => {
        let wasThere = false
        const interfering = await realm.open((adapter) =>
          changed(adapter, {
            append: async (request, signal) => {
              if (!wasThere) {
                wasThere = true
                if (through === 'the same connection') await adapter.append(noteRequest('a'))
                else
                  await store.append({ stream: Account('a'), events: [Account.events.Noted({ text: 'x' })] })
              }
              return adapter.append(request, signal)
            },
          }),
        )
        const [given, taken] = await Promise.allSettled([
          execute(interfering, depositOf(100), { retry: { maxRetries: 0 } }),
          tryExecute(interfering, withdraw({ account: 'a', amount: 100 })),
        ])
        assert.equal(given.status, 'rejected')
        assert.ok(taken.status === 'fulfilled' && !taken.value.ok)
        assert.deepEqual(taken.value.rejection, { reason: 'insufficient-funds', balance: 0 })
        const types = (await drain(store.read(Account('a')))).map(({ type }) => type)
        assert.deepEqual(types, ['Account.Noted'])
      },
    )
  }
}

function depositOf(amount: number) {
  return defineCommand({
    reads: () => Account('a'),
    handle: () => Account.events.Deposited({ amount }),
  })()
}

/** Decides on nothing, in one of three ways unless the balance is zero. */
function onlyAtZero(balance: number, way: 'a rejection' | 'no events' | 'a thrown error') {
  if (balance === 0) return reject('at zero')
  if (way === 'a thrown error') throw new RangeError(way)
  return way === 'no events' ? [] : reject(way)
}

async function outcomeOf(
  call: Promise<{ ok: true } | { ok: false; rejection: { reason: string } }>,
): Promise<string> {
  try {
    const outcome = await call
    return outcome.ok ? 'no events' : outcome.rejection.reason
  } catch (error) {
    if (error instanceof RangeError) return error.message
    throw error
  }
}

/** Lets something happen before the first append that goes to the store. */
function once(step: () => Promise<unknown>): Change {
  let happened = false
  return beforeAppend(async () => {
    if (happened) return
    happened = true
    await step()
  })
}

/** Lets something happen, once, after one stream was read and before another one is. */
function betweenTwoReads(step: () => Promise<unknown>): Change {
  let reads = 0
  let firstIsRead = (): void => undefined
  const read = new Promise<void>((resolve) => (firstIsRead = resolve))
  return (adapter) =>
    changed(adapter, {
      read: async function* (request) {
        const turn = ++reads
        if (turn === 2) {
          await read
          await step()
        }
        yield* adapter.read(request)
        if (turn === 1) firstIsRead()
      },
    })
}
