import { describe, expect, test } from 'vitest'
import { defineCommand, execute } from 'mneme'
import { BankAccount, deposit, Deposited, Opened } from '../support/bank.ts'
import { observedStore } from '../support/observed-store.ts'

const untyped = execute as (...args: unknown[]) => Promise<unknown>
const a = BankAccount('a')
const b = BankAccount('b')
const one = (name: string | undefined, stream: unknown, handle: unknown) => ({ name, reads: stream, handle })

async function opened() {
  const store = observedStore()
  for (const stream of [a, b]) await store.append({ stream, events: [Opened({ owner: 'A' })] })
  return store
}

describe('a command that handle executes', () => {
  const ways: [string, (inner: () => Promise<unknown>) => unknown][] = [
    ['at once', async (inner) => await inner()],
    [
      'after an await',
      async (inner) => {
        await new Promise((resolve) => setImmediate(resolve))
        await inner()
      },
    ],
    ['in a promise chain', (inner) => Promise.resolve().then(inner)],
    ['without async', (inner) => inner()],
  ]
  for (const [way, run] of ways) {
    test(`a command that handle executes on its own stream is refused with an error that names both: ${way}`, async () => {
      for (const [outer, inner] of [
        [a, a],
        [{ a, b }, b],
        [a, { a, b }],
        [{ a, b }, { b }],
      ]) {
        const store = await opened()
        // From now on every handle is known to be asynchronous, if one ever returned a promise.
        await untyped(
          store,
          one('earlier', a, async () => []),
        )
        const nested = one('inner', inner, () => [])
        const call = untyped(
          store,
          one('outer', outer, () => run(() => untyped(store, nested))),
        )
        await expect(call).rejects.toMatchObject({
          code: 'INVALID_ARGUMENT',
          message: expect.stringMatching(
            /^the handle of command "outer" executes command "inner" on its own stream "BankAccount-[ab]"/,
          ) as string,
        })
        await store.close()
      }
    })
  }

  test('a command on the stream of an outer handle is refused too if another command lies between the two', async () => {
    const store = await opened()
    const third = one('third', a, () => [])
    const second = one('second', b, async () => {
      await untyped(store, third)
      return []
    })
    const first = one('first', a, async () => {
      await untyped(store, second)
      return []
    })
    await expect(untyped(store, first)).rejects.toThrow(
      'the handle of command "first" executes command "third"',
    )
    await store.close()
  })

  test('the error of a nested command names a command by its class if it has no name', async () => {
    class Outer {
      readonly reads = a
      async handle() {
        await untyped(
          store,
          one(undefined, a, () => []),
        )
        return []
      }
    }
    const store = await opened()
    await expect(untyped(store, new Outer())).rejects.toThrow(
      'the handle of command "Outer" executes a command without a name on its own stream "BankAccount-a"',
    )
  })

  test('a command that handle executes on another stream, or on another store, is executed', async () => {
    const store = await opened()
    const other = await opened()
    const outer = one('outer', a, async () => {
      await execute(store, deposit({ account: 'b', amount: 1 }))
      await execute(other, deposit({ account: 'a', amount: 1 }))
      return Deposited({ amount: 1 })
    })
    await untyped(store, outer)
    expect(store.data.log.map(({ stream }) => stream)).toEqual([a.stream, b.stream, b.stream, a.stream])
  })

  test('a command on the same stream is executed once handle has ended', async () => {
    const store = await opened()
    let later: Promise<unknown> | undefined
    const outer = defineCommand({
      reads: () => a,
      handle: async () => {
        later ??= new Promise((resolve) => setImmediate(resolve)).then(() =>
          execute(store, deposit({ account: 'a', amount: 2 })),
        )
        await Promise.resolve()
        return Deposited({ amount: 1 })
      },
    })
    await execute(store, outer())
    await later
    expect(store.data.log.filter(({ stream }) => stream === a.stream)).toHaveLength(3)
  })
})
