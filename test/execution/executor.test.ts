import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, test } from 'vitest'
import {
  defineCommand,
  execute,
  executor,
  InvalidArgumentError,
  ofType,
  RejectedError,
  tryExecute,
  type CommandOutcome,
} from 'mneme'
import { memoryStore } from 'mneme/memory'
import { BankAccount, deposit, Deposited, open, Opened, withdraw } from '../support/bank.ts'
import { times } from '../support/observed-store.ts'

const untyped = executor as (...args: unknown[]) => ReturnType<typeof executor>
const stamped = defineCommand({
  needs: ofType<{ now: () => string; user: () => string }>(),
  reads: () => BankAccount('a'),
  handle: (_account, _input, { now, user }) => Opened({ owner: `${user()} at ${now()}` }),
})

describe('an executor', () => {
  test('executes as execute and tryExecute do', async () => {
    const store = memoryStore()
    const bank = executor(store)
    const opened = await bank.execute(open('a'))
    expect(opened).toMatchObject({ ok: true, state: { open: true }, attempts: 1 })
    const refused = await bank.tryExecute(withdraw({ account: 'a', amount: 5 }))
    expect(refused).toEqual(await tryExecute(store, withdraw({ account: 'a', amount: 5 })))
    const error: unknown = await bank
      .execute(withdraw({ account: 'a', amount: 5 }))
      .catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(RejectedError)
    expect(withdraw.rejected(error) && error.rejection.reason).toBe('insufficient-funds')
    expect(error).toMatchObject({ revisions: new Map([['BankAccount-a', 0]]) })
    const key = { key: 'k' }
    await bank.execute(deposit({ account: 'a', amount: 1 }), key)
    expect(await execute(store, deposit({ account: 'a', amount: 1 }), key)).toMatchObject({ repeated: true })
  })

  test('gives commands what they need, and a call can give the rest or another', async () => {
    const bank = executor(memoryStore(), { needs: { now: () => 'noon' } })
    const user = () => 'Ann'
    const first = await bank.execute(stamped(), { needs: { user } })
    expect(first.events[0]?.data.owner).toBe('Ann at noon')
    const second = await bank.execute(stamped(), { needs: { user, now: () => 'midnight' } })
    expect(second.events[0]?.data.owner).toBe('Ann at midnight')
    const complete = executor(memoryStore(), { needs: { now: () => 'noon', user } })
    expect((await complete.execute(stamped())).events[0]?.data.owner).toBe('Ann at noon')
    const replaced = await complete.execute(stamped(), { needs: { user: () => 'Bob' } })
    expect(replaced.events[0]?.data.owner).toBe('Bob at noon')
  })

  test('adds the metadata of a call to its own, which a function makes in the context of each caller', async () => {
    const request = new AsyncLocalStorage<string>()
    const bank = executor(memoryStore(), {
      metadata: () => ({ actor: request.getStore() ?? 'nobody', branch: 'Basel' }),
    })
    const results = await Promise.all(
      times(5, (i) =>
        request.run(`user ${i}`, () =>
          bank.execute(open(`${i}`), i === 4 ? { metadata: { branch: 'Bern' } } : {}),
        ),
      ),
    )
    expect(results.map(({ events }) => events[0]?.metadata)).toEqual(
      times(5, (i) => ({ actor: `user ${i}`, branch: i === 4 ? 'Bern' : 'Basel' })),
    )
    const fixed = executor(memoryStore(), { metadata: { actor: 'Ann', branch: 'Basel' } })
    const { events } = await fixed.execute(open('a'), {
      metadata: { branch: undefined, correlation: 'c' },
    })
    expect(events[0]?.metadata).toEqual({ actor: 'Ann', branch: 'Basel', correlation: 'c' })
  })

  test("cancels a call by its own signal and by the call's, and keeps no listener of either", async () => {
    const shutdown = new AbortController()
    const request = new AbortController()
    const listeners = countListeners([shutdown.signal, request.signal])
    const signals: AbortSignal[] = []
    const waiting = defineCommand({
      reads: () => BankAccount('a'),
      handle: (_account, _input, { signal }) => {
        signals.push(signal)
        return []
      },
    })
    const bank = executor(memoryStore(), { signal: shutdown.signal })
    for (const _ of times(3, (i) => i)) await bank.execute(waiting(), { signal: request.signal })
    expect(listeners.count).toBe(0)
    expect(signals.some(({ aborted }) => aborted)).toBe(false)
    const never = defineCommand({
      reads: () => BankAccount('a'),
      handle: () => new Promise<[]>(() => undefined),
    })
    const one = bank.execute(never(), { signal: request.signal })
    request.abort(new Error('gone'))
    await expect(one).rejects.toThrow('gone')
    const two = bank.execute(never())
    shutdown.abort(new Error('shutting down'))
    await expect(two).rejects.toThrow('shutting down')
    await expect(bank.execute(waiting(), { signal: new AbortController().signal })).rejects.toThrow(
      'shutting down',
    )
    expect(listeners.count).toBe(0)
  })

  test('wraps each call, also rejections and errors, in a context of its own', async () => {
    const span = new AsyncLocalStorage<string>()
    const log: unknown[] = []
    const command = defineCommand({
      name: 'pay',
      reads: (account: string) => BankAccount(account),
      handle: (account) => {
        log.push(span.getStore())
        if (span.getStore() === 'failing') throw new Error('broken')
        return account.open ? Deposited({ amount: 1 }) : Opened({ owner: 'A' })
      },
    })
    const store = memoryStore()
    const bank = executor(store, {
      metadata: () => ({ span: span.getStore() ?? '' }),
      around: async (call, next) => {
        log.push([call.command.name, call.options.key, call.store === store])
        try {
          const outcome = await span.run(call.options.key ?? 'none', next)
          log.push(outcome.ok ? outcome.revisions.size : outcome.rejection.reason)
          return outcome
        } catch (error) {
          log.push((error as Error).message)
          throw error
        }
      },
    })
    const { events } = await bank.execute(command('a'), { key: 'k1' })
    expect(events[0]?.metadata).toEqual({ span: 'k1' })
    await expect(bank.execute(command('a'), { key: 'failing' })).rejects.toThrow('broken')
    await expect(bank.execute(withdraw({ account: 'b', amount: 1 }))).rejects.toThrow(RejectedError)
    expect(log).toEqual([
      ['pay', 'k1', true],
      'k1',
      1,
      ['pay', 'failing', true],
      'failing',
      'broken',
      [undefined, undefined, true],
      'not-open',
    ])
  })

  test('executes a command once more if its wrapper asks for it again', async () => {
    const store = memoryStore()
    const bank = executor(store, {
      around: async (_call, next) => {
        await next()
        return next()
      },
    })
    expect(await bank.tryExecute(open('a'))).toMatchObject({ rejection: { reason: 'already-open' } })
    expect(await store.head(BankAccount('a'))).toBe(0)
  })

  test('refuses what its wrapper returns instead of the outcome', async () => {
    for (const around of [
      async (_: unknown, next: () => Promise<unknown>) => next().then(() => undefined),
      async (_: unknown, next: () => Promise<object>) => ({ ...(await next()) }),
      () => Promise.resolve({ ok: true } as CommandOutcome),
    ]) {
      const failing = untyped(memoryStore(), { around }).execute(open('a'))
      await expect(failing).rejects.toThrow(
        'around returned something else than next() resolved with; return the result of next()',
      )
    }
  })

  test.each([
    ['no store', [{}], 'store'],
    ['null', [memoryStore(), null], 'defaults'],
    ['a misspelt name', [memoryStore(), { need: {} }], 'defaults.need'],
    ['needs that are a function', [memoryStore(), { needs: () => ({}) }], 'needs'],
    ['metadata that is a string', [memoryStore(), { metadata: 'ann' }], 'metadata'],
    ['a controller in place of its signal', [memoryStore(), { signal: new AbortController() }], 'signal'],
    ['around that is no function', [memoryStore(), { around: true }], 'around'],
  ])('is refused with %s', (_, args, argument) => {
    expect(() => untyped(...args)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', argument }))
  })

  test('refuses wrong options of a call, and metadata that its function cannot mean', async () => {
    const bank = executor(memoryStore()) as unknown as { execute(...args: unknown[]): Promise<unknown> }
    for (const options of [null, 'key', { metadata: 'ann' }, { needs: 5 }, { signal: {} }, { keys: 'k' }]) {
      await expect(bank.execute(open('a'), options)).rejects.toBeInstanceOf(InvalidArgumentError)
    }
    const asynchronous = untyped(memoryStore(), { metadata: async () => ({ actor: 'Ann' }) })
    await expect(asynchronous.execute(open('a'))).rejects.toMatchObject({ argument: 'metadata' })
  })
})

/** How many listeners the signals have. */
function countListeners(signals: readonly AbortSignal[]): { readonly count: number } {
  const counted = { count: 0 }
  for (const signal of signals) {
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)]
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      counted.count++
      add(...args)
    }
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      counted.count--
      remove(...args)
    }
  }
  return counted
}
