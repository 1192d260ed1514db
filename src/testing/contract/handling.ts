import { AsyncLocalStorage } from 'node:async_hooks'
import assert from 'node:assert/strict'
import { aggregateFromClass, defineAggregate } from '../../model/aggregate.ts'
import { defineCommand, reject } from '../../model/command.ts'
import { ConflictError, FoldError, LimitError, UnknownEventError } from '../../base/errors.ts'
import { event } from '../../model/event-spec.ts'
import { execute, tryExecute } from '../../execution/execute.ts'
import { limits } from '../../base/limits.ts'
import { Account, deposit, depositDirectly, noteRequest } from './accounts.ts'
import { beforeAppend, changed, gate } from './faults.ts'
import { drain, everything, failureOf, nextTurn, nothingWritten, thrownBy } from './outcomes.ts'
import type { Prove } from './prove.ts'
import type { Change } from './realm.ts'
import { upTo } from './sample-events.ts'

/** F1, W3 and R4 around `handle`: its errors, its retries, and that it can spoil nothing. */
export function handling(prove: Prove): void {
  prove(
    'F1: an error that handle throws reaches the caller unchanged, and nothing is written',
    async (store) => {
      const error = new RangeError('of the domain')
      let calls = 0
      const failing = defineCommand({
        reads: () => Account('a'),
        handle: () => {
          calls++
          throw error
        },
      })
      await depositDirectly(store, 'a', 1)
      await nothingWritten(store, async () => {
        for (const _ of upTo(2)) assert.equal(await thrownBy(() => execute(store, failing())), error)
      })
      assert.equal(calls, 2)
    },
  )

  prove(
    'W3: a handler that changes the state gets an error, and other commands see the state unchanged',
    async (store) => {
      await store.append({ stream: Account('a'), events: [Account.events.Noted({ text: 'x' })] })
      const spoiling = defineCommand({
        reads: (_how: 'balance' | 'notes') => Account('a'),
        handle: (state, how) => {
          if (how === 'balance') (state as { balance: number }).balance = 1_000
          else (state.notes as string[]).push('spoilt')
          return Account.events.Deposited({ amount: 1 })
        },
      })
      for (const how of ['balance', 'notes', 'balance'] as const) {
        await failureOf(TypeError, () => execute(store, spoiling(how)))
        const { state } = await execute(store, deposit({ account: 'a', amount: 0 }))
        assert.deepEqual(state, { balance: 0, notes: ['x'] })
      }
    },
  )

  prove("W3: a handler that changes the state of a class changes no other command's state", async (store) => {
    const spoiling = defineCommand({
      reads: () => Counter('a'),
      handle: (state) => {
        const seen = state.count
        state.count = 1_000
        return seen === 1_000 ? [] : Counter.events.Counted()
      },
    })
    const results = await Promise.all(upTo(5).map(() => execute(store, spoiling())))
    results.push(await execute(store, spoiling()))
    assert.deepEqual(
      results.map(({ state }) => state.count),
      [1, 2, 3, 4, 5, 6],
    )
    for (const { state } of results) state.count = 1_000
    assert.equal((await execute(store, spoiling())).state.count, 7)
  })

  prove('W3: the functions of each command run in the async context of its caller', async (store) => {
    const request = new AsyncLocalStorage<number>()
    const seen: [number, number | undefined][] = []
    const note = (i: number) => seen.push([i, request.getStore()])
    const adding = defineCommand({
      reads: (_: number) => ({ counter: Counter('a') }),
      follow: (_state, i) => {
        note(i)
        return {}
      },
      handle: async (_state, i, { on }) => {
        await Promise.resolve()
        note(i)
        return i % 3 === 0 ? reject('third') : on.counter(Counter.events.Counted())
      },
    })
    const alone = defineCommand({
      reads: (_: number) => Counter('a'),
      handle: (_state, i) => {
        note(i)
        return Counter.events.Counted()
      },
    })
    await Promise.all(
      upTo(10).map((i) =>
        request.run(i, async () => {
          const options = { retry: { maxRetries: 50 } }
          await (i % 2 ? tryExecute(store, adding(i), options) : tryExecute(store, alone(i), options))
        }),
      ),
    )
    assert.ok(seen.length >= 10)
    assert.deepEqual(
      seen.filter(([i, context]) => context !== i),
      [],
    )
  })

  prove('F1: a command whose apply throws fails with that error, and nothing is written', async (store) => {
    const cause = new RangeError('of the fold')
    const Fragile = defineAggregate({
      name: 'Fragile',
      events: { Touched: event<{ hard: boolean }>() },
      initial: () => ({ touched: 0 }),
      apply: {
        Touched: (state, { hard }) => {
          if (hard) throw cause
          return { touched: state.touched + 1 }
        },
      },
    })
    const touch = defineCommand({
      reads: (_: { hard: boolean }) => Fragile('a'),
      handle: (_, { hard }) => Fragile.events.Touched({ hard }),
    })
    await execute(store, touch({ hard: false }))
    await nothingWritten(store, async () => {
      const error = await failureOf(FoldError, () => execute(store, touch({ hard: true })))
      assert.deepEqual([error.cause, error.stream, error.revision], [cause, 'Fragile-a', 1])
    })
    assert.equal((await execute(store, touch({ hard: false }))).state.touched, 2)
    await store.append({ stream: 'Fragile-a', events: [{ type: 'Fragile.Touched', data: { hard: true } }] })
    const { revision } = await failureOf(FoldError, () => execute(store, touch({ hard: false })))
    assert.equal(revision, 2)
  })

  prove(
    'F1: a command on a stream with an event of unknown type fails, and nothing is written',
    async (store) => {
      await depositDirectly(store, 'a', 1)
      await store.append({ stream: 'Account-a', events: [{ type: 'Account.Frozen', data: {} }] })
      await store.append({ stream: 'Account-b', events: [{ type: 'Account.Noted', version: 2, data: {} }] })
      await nothingWritten(store, async () => {
        for (const [account, type, version] of [
          ['a', 'Account.Frozen', 1],
          ['b', 'Account.Noted', 2],
        ] as const) {
          const call = () => execute(store, deposit({ account, amount: 1 }))
          const error = await failureOf(UnknownEventError, call)
          assert.deepEqual([error.stream, error.type, error.version], [`Account-${account}`, type, version])
        }
      })
    },
  )

  prove('W7: a decision above a limit fails and disturbs no command that waits with it', async (store) => {
    const flood = defineCommand({
      reads: () => Account('a'),
      handle: () => upTo(limits.appendEvents + 1).map(() => Account.events.Deposited({ amount: 1 })),
    })
    const [before, flooded, after] = await Promise.allSettled([
      execute(store, deposit({ account: 'a', amount: 1 })),
      execute(store, flood()),
      execute(store, deposit({ account: 'a', amount: 1 })),
    ])
    assert.deepEqual([before.status, after.status], ['fulfilled', 'fulfilled'])
    assert.ok(flooded.status === 'rejected' && flooded.reason instanceof LimitError)
    assert.equal(await store.head(Account('a')), 1)
  })

  for (const maxRetries of [0, 3]) {
    prove(
      `W3: a command retries a conflict ${maxRetries} times, then fails with it`,
      async (store, realm) => {
        let appends = 0
        const contended = await realm.open(
          alwaysFirst(() => appends++),
          { cachedStates: 0 },
        )
        const attempts: number[] = []
        const options = {
          retry: { maxRetries, baseDelay: 0 },
          onRetry: ({ attempt }: { attempt: number }) => attempts.push(attempt),
        }
        const call = () => execute(contended, deposit({ account: 'a', amount: 1 }), options)
        const error = await failureOf(ConflictError, call)
        assert.equal(error.stream, 'Account-a')
        assert.equal(appends, maxRetries + 1)
        assert.deepEqual(
          attempts,
          upTo(maxRetries).map((n) => n + 1),
        )
        assert.equal((await drain(store.read(Account('a')))).length, appends)
      },
    )
  }

  prove(
    'R4: a command aborted before or between attempts fails with the reason of its signal',
    async (store, realm) => {
      const reason = new Error('enough')
      const given = execute(store, deposit({ account: 'a', amount: 1 }), {
        signal: AbortSignal.abort(reason),
      })
      assert.equal(await thrownBy(() => given), reason)
      const contended = await realm.open(alwaysFirst(), { cachedStates: 0 })
      const controller = new AbortController()
      const call = execute(contended, deposit({ account: 'b', amount: 1 }), {
        signal: controller.signal,
        retry: { maxRetries: 5, minDelay: 60_000, maxDelay: 60_000 },
        onRetry: () => void nextTurn().then(() => controller.abort(reason)),
      })
      assert.equal(await thrownBy(() => call), reason)
      assert.equal(await store.head(Account('a')), 'none')
      assert.equal(await store.head(Account('b')), 0)
    },
  )

  prove(
    'R4: aborting one command does not disturb others that wait for the same stream',
    async (store, realm) => {
      const stalled = gate(realm)
      const slow = await realm.open(beforeAppend(() => stalled.pass()))
      const controllers = upTo(20).map(() => new AbortController())
      const calls = controllers.map(({ signal }) =>
        execute(slow, deposit({ account: 'a', amount: 1 }), { signal }),
      )
      const settled = Promise.allSettled(calls)
      while (stalled.arrived === 0) await nextTurn()
      const late = execute(slow, deposit({ account: 'a', amount: 1 }), { signal: controllers[3]!.signal })
      const ended = late.catch((error: unknown) => error)
      const reason = new Error('enough')
      controllers[3]!.abort(reason)
      assert.equal(await ended, reason)
      stalled.open()
      const succeeded = (await settled).filter(({ status }) => status === 'fulfilled').length
      assert.equal((await everything(store)).length, succeeded)
      assert.ok(succeeded >= 19)
      assert.equal((await tryExecute(slow, deposit({ account: 'a', amount: 1 }))).ok, true)
    },
  )
}

/** A state that changes itself. */
class Count {
  count = 0
  apply(_event: unknown): void {
    this.count++
  }
  clone(): Count {
    return Object.assign(new Count(), this)
  }
}
const Counter = aggregateFromClass({ name: 'Counter', events: { Counted: event() }, state: Count })

/** Another process comes first, each time. */
function alwaysFirst(count: () => void = () => undefined): Change {
  return (adapter) =>
    changed(adapter, {
      append: async (request, signal) => {
        count()
        const account = request.conditions[0]!.stream.slice('Account-'.length)
        await adapter.append(noteRequest(account))
        return adapter.append(request, signal)
      },
    })
}
