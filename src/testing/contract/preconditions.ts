import assert from 'node:assert/strict'
import { ConflictError, InvalidArgumentError } from '../../base/errors.ts'
import { execute, tryExecute } from '../../execution/execute.ts'
import { defineCommand } from '../../model/command.ts'
import { Account, audit, deposit, depositDirectly, noteRequest, transfer, withdraw } from './accounts.ts'
import { changed } from './faults.ts'
import { everything, failureOf, nothingWritten, race } from './outcomes.ts'
import type { Prove } from './prove.ts'
import type { Change } from './realm.ts'
import { upTo } from './sample-events.ts'

/** W2 and W3 for what the caller of a command expects: checked exactly, and never retried. */
export function preconditions(prove: Prove): void {
  prove('W2: a command runs if its streams are as its caller expects', async (store, realm) => {
    const other = await realm.open()
    const call = (expected: number | 'none' | 'exists') =>
      execute(store, deposit({ account: 'a', amount: 1 }), { expected: { 'Account-a': expected } })
    const first = await call('none')
    assert.deepEqual([...first.revisions], [['Account-a', 0]])
    await depositDirectly(other, 'a', 1)
    await call(1)
    await call('exists')
    await call(3)
    const next = deposit({ account: 'a', amount: 1 })
    const last = await execute(other, next, { expected: new Map([['Account-a', 4]]) })
    assert.equal(last.state.balance, 6)
  })

  prove(
    'W2: a command whose caller expects another revision conflicts, is not decided and not retried',
    async (store, realm) => {
      const other = await realm.open()
      await execute(store, deposit({ account: 'a', amount: 1 }))
      await depositDirectly(other, 'a', 1)
      const watched = watch()
      for (const [expected, account] of [
        [2, 'a'],
        [0, 'a'],
        ['none', 'a'],
        [0, 'b'],
        ['exists', 'b'],
      ] as const) {
        const stream = `Account-${account}`
        const error = await nothingWritten(other, () =>
          failureOf(ConflictError, () =>
            execute(store, watched.command(account), {
              expected: { [stream]: expected },
              ...watched.options,
            }),
          ),
        )
        const actual = account === 'a' ? 1 : 'none'
        assert.deepEqual([error.stream, error.expected, error.actual], [stream, expected, actual])
        assert.deepEqual([error.isPrecondition, error.isRetryable], [true, false])
      }
      assert.deepEqual([watched.decisions, watched.retries], [0, 0])
    },
  )

  prove(
    'W2: an expected revision that another writer passes before the append is a conflict at once',
    async (store, realm) => {
      await depositDirectly(store, 'a', 1)
      const overtaken = await realm.open(overtakenOn('a'))
      const watched = watch()
      const options = { expected: { 'Account-a': 0 }, ...watched.options }
      const { actual, isPrecondition } = await failureOf(ConflictError, () =>
        execute(overtaken, watched.command('a'), options),
      )
      assert.deepEqual([actual, isPrecondition], [1, true])
      assert.deepEqual([watched.decisions, watched.retries], [1, 0])
      assert.equal(await store.head(Account('a')), 1)
    },
  )

  prove(
    'W2: exactly one of 24 commands that expect one revision at once succeeds, beside others that expect none',
    async (store, realm) => {
      const stores = [store, await realm.open()]
      await depositDirectly(store, 'a', 1)
      const plain = upTo(4).map((n) => execute(stores[n % 2]!, deposit({ account: 'b', amount: 1 })))
      const { won, lost } = await race(
        upTo(24).map((n) =>
          execute(stores[n % 2]!, deposit({ account: 'a', amount: 1 }), { expected: { 'Account-a': 0 } }),
        ),
      )
      await Promise.all(plain)
      assert.deepEqual([won.length, lost.length], [1, 23])
      for (const { actual, isPrecondition } of lost) assert.deepEqual([actual, isPrecondition], [1, true])
      assert.equal(await store.head(Account('a')), 1)
    },
  )

  prove(
    'W2: each stream that a command reads can be expected at a revision of its own',
    { needs: ['severalStreams'] },
    async (store, realm) => {
      const other = await realm.open()
      await depositDirectly(store, 'a', 100)
      const call = (expected: Record<string, number | 'none'>, amount = 10) =>
        tryExecute(store, transfer({ from: 'a', to: 'b', amount }), { expected })
      const first = await call({ 'Account-a': 0, 'Account-b': 'none' })
      assert.ok(first.ok)
      const { stream, actual } = await failureOf(ConflictError, () => call({ 'Account-b': 'none' }))
      assert.deepEqual([stream, actual], ['Account-b', 0])
      await depositDirectly(other, 'b', 1)
      await failureOf(ConflictError, () => call({ 'Account-a': 1, 'Account-b': 0 }))
      const refused = await call({ 'Account-a': 1, 'Account-b': 1 }, 1_000)
      assert.ok(!refused.ok)
      const heads = [
        ['Account-a', 1],
        ['Account-b', 1],
      ]
      assert.deepEqual([...refused.revisions], heads)
      assert.ok((await call({ 'Account-a': 1 })).ok)
    },
  )

  prove(
    'W3: a command is retried after a conflict on a stream of which its caller expects nothing',
    { needs: ['severalStreams'] },
    async (store, realm) => {
      await depositDirectly(store, 'a', 100)
      const overtaken = await realm.open(overtakenOn('b'))
      const { attempts, revisions } = await execute(overtaken, transfer({ from: 'a', to: 'b', amount: 1 }), {
        expected: { 'Account-a': 0 },
      })
      assert.deepEqual([attempts, revisions.get('Account-b')], [2, 1])
    },
  )

  prove(
    'W4: a command under a used key gives its first result, although its expected revision has passed',
    { needs: ['keys'] },
    async (store, realm) => {
      await depositDirectly(store, 'a', 1)
      const call = (on = store) =>
        execute(on, deposit({ account: 'a', amount: 1 }), { key: 'k', expected: { 'Account-a': 0 } })
      const results = await Promise.all([call(), call(), call(await realm.open())])
      await depositDirectly(store, 'a', 1)
      results.push(await call(), await call(await realm.restart()))
      assert.equal(results.filter(({ repeated }) => !repeated).length, 1)
      for (const { revisions, state } of results) {
        assert.deepEqual([[...revisions], state.balance], [[['Account-a', 1]], 2])
      }
    },
  )

  prove('W3: a rejection tells the revision on which it stands', async (store, realm) => {
    const other = await realm.open()
    const call = () => tryExecute(store, withdraw({ account: 'a', amount: 10 }))
    for (const revision of ['none', 0, 1, 2] as const) {
      const outcome = await call()
      assert.ok(!outcome.ok)
      assert.deepEqual([...outcome.revisions], [['Account-a', revision]])
      await depositDirectly(other, 'a', 1)
    }
  })

  prove(
    'W3: handle and a rejection are told the revision of each stream',
    { needs: ['severalStreams'] },
    async (store, realm) => {
      const other = await realm.open()
      let told: unknown
      const command = defineCommand({
        reads: () => ({ left: Account('left'), right: Account('right') }),
        handle: (states, input, context) => {
          told = [...context.revisions]
          return audit({ left: 'left', right: 'right' }).handle(states, context)
        },
      })
      for (const revision of ['none', 0, 1] as const) {
        const outcome = await tryExecute(store, command())
        assert.ok(!outcome.ok)
        const expected = [
          ['Account-left', 'none'],
          ['Account-right', revision],
        ]
        assert.deepEqual([...outcome.revisions], expected)
        assert.deepEqual(told, expected)
        await depositDirectly(other, 'right', 1)
      }
    },
  )

  prove('W2: an expectation that is none is refused by the stream that it is of', async (store) => {
    for (const expected of ['any', undefined, null, -1, 1.5, NaN, '1']) {
      const { message } = await failureOf(InvalidArgumentError, () =>
        execute(store, deposit({ account: 'a', amount: 1 }), {
          expected: { 'Account-a': expected as number },
        }),
      )
      assert.match(
        message,
        /^expected\["Account-a"\] must be 'none', 'exists' or a revision .*leave the stream out/,
      )
    }
    assert.deepEqual(await everything(store), [])
  })

  prove(
    'W4: an expectation of a stream that the command does not read is refused under a used key, too',
    { needs: ['keys'] },
    async (store) => {
      const call = (expected: Record<string, number | 'none'>) =>
        execute(store, deposit({ account: 'a', amount: 1 }), { key: 'k', expected })
      const first = await call({ 'Account-a': 'none' })
      const { message } = await failureOf(InvalidArgumentError, () => call({ 'Account-b': 0 }))
      assert.match(message, /"Account-b", which the command does not read; it reads "Account-a"/)
      assert.deepEqual([...(await call({ 'Account-a': 'none' })).revisions], [...first.revisions])
    },
  )

  prove('W2: an expectation of a stream that the command does not read is refused', async (store) => {
    const { message } = await failureOf(InvalidArgumentError, () =>
      execute(store, deposit({ account: 'a', amount: 1 }), { expected: { 'Account-b': 0 } }),
    )
    assert.match(message, /"Account-b", which the command does not read; it reads "Account-a"/)
    assert.deepEqual(await everything(store), [])
  })
}

/** A stranger appends to an account right before the first append. */
function overtakenOn(account: string): Change {
  return (adapter) => {
    let strangers = 1
    return changed(adapter, {
      append: async (request, signal) => {
        if (strangers-- > 0) await adapter.append(noteRequest(account))
        return adapter.append(request, signal)
      },
    })
  }
}

/** A deposit that counts how often it is decided and retried. */
function watch() {
  const watched = {
    decisions: 0,
    retries: 0,
    options: { onRetry: () => watched.retries++, retry: { baseDelay: 1 } },
    command: defineCommand({
      reads: (account: string) => Account(account),
      handle: () => {
        watched.decisions++
        return Account.events.Deposited({ amount: 1 })
      },
    }),
  }
  return watched
}
