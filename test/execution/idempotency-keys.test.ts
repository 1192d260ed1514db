import { describe, expect, test } from 'vitest'
import {
  createStore,
  defineCommand,
  event,
  defineAggregate,
  type EventStore,
  execute,
  KeyReusedError,
  reject,
  tryExecute,
  UnsupportedError,
} from 'mneme'
import { memoryStore } from 'mneme/memory'
import { memoryAdapter } from '../../src/stores/memory/adapter.ts'
import { BankAccount, deposit, Deposited, open, Opened, transfer, withdraw } from '../support/bank.ts'
import { eventsOf, gate, observedStore, settle, times } from '../support/observed-store.ts'

const untyped = execute as unknown as (
  ...args: unknown[]
) => Promise<{ repeated: boolean; state: unknown; revisions: unknown; events: unknown[] }>
const add = (amount: number, account = 'a') => deposit({ account, amount })

async function opened(options = {}) {
  const store = observedStore(options)
  for (const account of ['a', 'b']) await execute(store, open(account))
  store.forget()
  return store
}

describe('an idempotency key', () => {
  test('executed again gives what the first append gave', async () => {
    const store = await opened()
    const first = await execute(store, add(10), { key: 'k', metadata: { actor: 'ann' } })
    await execute(store, add(5))
    const again = await execute(store, add(10), { key: 'k', metadata: { actor: 'bob' } })
    expect(first.repeated).toBe(false)
    expect(again).toEqual({ ...first, repeated: true })
    expect(await eventsOf(store, 'BankAccount-a')).toHaveLength(3)
  })

  test('works over several streams, also from another process', async () => {
    const store = await opened()
    await execute(store, add(10))
    const first = await execute(store, transfer({ from: 'a', to: 'b', amount: 4 }), { key: 'k' })
    await execute(store, transfer({ from: 'a', to: 'b', amount: 1 }))
    for (const where of [store, store.stranger]) {
      const again = await execute(where, transfer({ from: 'a', to: 'b', amount: 4 }), { key: 'k' })
      expect(again).toEqual({ ...first, repeated: true, attempts: expect.any(Number) as unknown })
    }
  })

  test('executed by 20 at once is executed once', async () => {
    for (const command of [add(10), transfer({ from: 'a', to: 'b', amount: 10 })]) {
      const store = await opened()
      await execute(store, add(10))
      const results = await Promise.all(
        times(20, (i) => untyped(i % 2 ? store : store.stranger, command, { key: 'k' })),
      )
      expect(results.filter(({ repeated }) => !repeated)).toHaveLength(1)
      for (const { state, revisions, events } of results) {
        expect([state, revisions, events]).toEqual([
          results[0]!.state,
          results[0]!.revisions,
          results[0]!.events,
        ])
      }
    }
  })

  test('of different commands in one group covers each one’s own events', async () => {
    const store = await opened()
    const appending = gate()
    store.beforeAppend = () => appending.passed
    const calls = times(8, (i) => execute(store, add(i + 1), i % 2 ? { key: `k${i}` } : {}))
    await settle()
    appending.open()
    const first = await Promise.all(calls)
    expect(store.appends.map(({ keys }) => keys.length)).toEqual([4])
    for (const i of [1, 3, 5, 7]) {
      const again = await execute(store, add(i + 1), { key: `k${i}` })
      expect(again).toEqual({ ...first[i], repeated: true })
    }
  })

  test('used before does not hold up the others of its group', async () => {
    const store = await opened()
    await execute(store, add(10), { key: 'k0' })
    await execute(store, add(10), { key: 'k1' })
    const results = await Promise.allSettled([
      execute(store, add(1), { key: 'new' }),
      execute(store, add(10), { key: 'k0' }),
      execute(store, add(11), { key: 'k1' }),
      execute(store, add(2), { key: 'newer' }),
    ])
    expect(results).toMatchObject([
      { value: { repeated: false, state: { balance: 21 } } },
      { value: { repeated: true, state: { balance: 10 } } },
      { reason: { code: 'KEY_REUSED', key: 'k1' } },
      { value: { repeated: false, state: { balance: 23 } } },
    ])
  })

  test('twice in one group, with different inputs, is an error of the second', async () => {
    const store = await opened()
    const results = await Promise.allSettled(
      [1, 2].map((amount) => execute(store, add(amount), { key: 'k' })),
    )
    expect(results).toMatchObject([{ value: { state: { balance: 1 } } }, { reason: { code: 'KEY_REUSED' } }])
  })

  test('decides before everything else what comes of the command', async () => {
    const store = await opened()
    await execute(store, add(10))
    await execute(store, withdraw({ account: 'a', amount: 10 }), { key: 'k' })
    // Now it would be rejected.
    const again = await tryExecute(store, withdraw({ account: 'a', amount: 10 }), { key: 'k' })
    expect(again).toMatchObject({ ok: true, repeated: true, state: { balance: 0 } })
    const throwing = defineCommand({
      reads: (_amount: number) => BankAccount('a'),
      handle: ({ balance }, amount) => {
        if (balance > 0) throw new Error('only once')
        return Deposited({ amount })
      },
    })
    await execute(store, throwing(5), { key: 'once' })
    await expect(execute(store, throwing(5), { key: 'once' })).resolves.toMatchObject({ repeated: true })
    await expect(execute(store, throwing(6), { key: 'once' })).rejects.toThrow(KeyReusedError)
  })

  test('is not kept by a rejection, an error or a decision on nothing', async () => {
    const store = await opened()
    let turn = 0
    const changing = defineCommand({
      reads: () => BankAccount('a'),
      handle: () => {
        turn++
        if (turn === 1) return reject('not-yet')
        if (turn === 2) throw new Error('not yet')
        return turn === 3 ? [] : Deposited({ amount: 1 })
      },
    })
    await expect(execute(store, changing(), { key: 'k' })).rejects.toMatchObject({ code: 'REJECTED' })
    await expect(execute(store, changing(), { key: 'k' })).rejects.toThrow('not yet')
    await expect(execute(store, changing(), { key: 'k' })).resolves.toMatchObject({
      events: [],
      repeated: false,
    })
    await expect(execute(store, changing(), { key: 'k' })).resolves.toMatchObject({
      repeated: false,
      state: { balance: 1 },
    })
    await expect(execute(store, changing(), { key: 'k' })).resolves.toMatchObject({ repeated: true })
  })

  test('belongs to the store: another stream is another input', async () => {
    const store = await opened()
    await execute(store, add(10), { key: 'k' })
    await expect(execute(store, add(10, 'b'), { key: 'k' })).rejects.toThrow(KeyReusedError)
    const fixed = (stream: string) => ({
      reads: BankAccount(stream),
      input: 'same',
      handle: () => Opened({ owner: 'A' }),
    })
    await execute(store, fixed('x'), { key: 'fixed' })
    await expect(execute(store, fixed('y'), { key: 'fixed' })).rejects.toThrow(KeyReusedError)
  })

  test('compares an object of a class by its own fields', async () => {
    const store = await opened()
    class Deposit {
      readonly account: string
      readonly amount: number
      constructor(account: string, amount: number) {
        this.account = account
        this.amount = amount
      }
      get reads() {
        return BankAccount(this.account)
      }
      handle = () => Deposited({ amount: this.amount })
    }
    await execute(store, new Deposit('a', 1), { key: 'k' })
    await expect(execute(store, new Deposit('a', 1), { key: 'k' })).resolves.toMatchObject({ repeated: true })
    await expect(execute(store, new Deposit('a', 2), { key: 'k' })).rejects.toThrow(KeyReusedError)
    await expect(execute(store, new Deposit('b', 1), { key: 'k' })).rejects.toThrow(KeyReusedError)
  })

  test('gives back events by their present names and versions', async () => {
    const first = defineAggregate({
      name: 'Order',
      events: { Placed: event<{ sum: number }>() },
      initial: () => ({ cents: 0 }),
      apply: { Placed: (_, { sum }) => ({ cents: sum * 100 }) },
    })
    const later = defineAggregate({
      name: 'Order',
      events: {
        Ordered: event<{ sum: number }>()
          .formerly('Order.Placed')
          .next<{ cents: number }>(({ sum }) => ({ cents: sum * 100 })),
      },
      initial: () => ({ cents: 0 }),
      apply: { Ordered: (_, { cents }) => ({ cents }) },
    })
    const store = observedStore()
    const input = { sum: 3 }
    await execute(store, { reads: first('o'), input, handle: () => first.events.Placed(input) }, { key: 'k' })
    const again = await execute(
      store,
      { reads: later('o'), input, handle: () => later.events.Ordered({ cents: 300 }) },
      { key: 'k' },
    )
    expect(again).toMatchObject({ repeated: true, state: { cents: 300 } })
    expect(again.events).toMatchObject([{ type: 'Order.Ordered', data: { cents: 300 }, version: 2 }])
  })

  test('is refused where the store keeps none', async () => {
    const adapter = memoryAdapter()
    const store = createStore({ ...adapter, capabilities: { ...adapter.capabilities, keys: false } })
    await expect(execute(store, open('a'), { key: 'k' })).rejects.toThrow(UnsupportedError)
    await expect(execute(store, open('a'))).resolves.toMatchObject({ ok: true })
  })
})

describe('a store without several streams in one append', () => {
  test('refuses commands over several, and executes those over one', async () => {
    const adapter = memoryAdapter()
    const store = createStore({
      ...adapter,
      capabilities: { ...adapter.capabilities, severalStreams: false },
    })
    await execute(store, open('a'))
    const refused = execute(store, transfer({ from: 'a', to: 'b', amount: 1 }))
    await expect(refused).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })
})

describe('an idempotency key of a command that follows streams', () => {
  const Member = defineAggregate({
    name: 'Member',
    events: { LoanTaken: event(), LoanEnded: event(), Named: event<{ name: string }>() },
    initial: () => ({ loans: 0, name: '' }),
    apply: {
      LoanTaken: (member) => ({ ...member, loans: member.loans + 1 }),
      LoanEnded: (member) => ({ ...member, loans: member.loans - 1 }),
      Named: (member, { name }) => ({ ...member, name }),
    },
  })
  const Copy = defineAggregate({
    name: 'Copy',
    events: { Lent: event<{ member: string }>(), Returned: event() },
    initial: () => ({ member: '' }),
    apply: { Lent: (_, { member }) => ({ member }), Returned: () => ({ member: '' }) },
  })
  const lend = defineCommand({
    reads: (input: { copy: string; member: string }) => ({
      copy: Copy(input.copy),
      member: Member(input.member),
    }),
    handle: (_, { member }, { on }) => [
      on.copy(Copy.events.Lent({ member })),
      on.member(Member.events.LoanTaken()),
    ],
  })
  /** The events change what `follow` finds. */
  const giveBack = defineCommand({
    reads: (input: { copy: string }) => ({ copy: Copy(input.copy) }),
    follow: ({ copy }) => ({ members: copy.member === '' ? [] : [Member(copy.member)] }),
    handle: ({ copy }, _, { on }) =>
      copy.member === ''
        ? reject('not-lent')
        : [on.copy(Copy.events.Returned()), on.members(0, Member.events.LoanEnded())],
  })
  const hand = defineCommand({
    reads: (input: { copy: string; to: string }) => ({ copy: Copy(input.copy) }),
    follow: ({ copy }) => ({ from: Member(copy.member) }),
    handle: ({ copy, from }, { to }, { on }) =>
      copy.member === from.name ? [] : on.copy(Copy.events.Lent({ member: to })),
  })

  test('gives what the first append gave, though the events changed what it follows', async () => {
    const store = observedStore()
    await execute(store, lend({ copy: '1', member: 'ann' }))
    const first = await execute(store, giveBack({ copy: '1' }), { key: 'k' })
    expect(first.state).toEqual({ copy: { member: '' }, members: [{ loans: 0, name: '' }] })
    await execute(store, lend({ copy: '1', member: 'bob' }))
    await store.append({ stream: Member('ann'), events: [Member.events.Named({ name: 'later' })] })
    for (const where of [store, store.stranger]) {
      expect(await execute(where, giveBack({ copy: '1' }), { key: 'k' })).toEqual({
        ...first,
        repeated: true,
      })
    }
  })

  test('clicked three times at once takes effect once', async () => {
    const store = observedStore()
    await execute(store, lend({ copy: '1', member: 'ann' }))
    const results = await Promise.all(times(3, () => execute(store, giveBack({ copy: '1' }), { key: 'k' })))
    expect(results.map(({ repeated }) => repeated).sort()).toEqual([false, true, true])
    for (const { state } of results) expect(state).toEqual(results[0]?.state)
  })

  test('gives the state of the stream that was followed, not of the one that it would follow now', async () => {
    const store = observedStore()
    await execute(store, lend({ copy: '1', member: 'ann' }))
    await store.append({ stream: Member('bob'), events: [Member.events.Named({ name: 'Robert' })] })
    const first = await execute(store, hand({ copy: '1', to: 'bob' }), { key: 'k' })
    const again = await execute(store, hand({ copy: '1', to: 'bob' }), { key: 'k' })
    expect(again).toEqual({ ...first, repeated: true })
    expect([...again.revisions.keys()].sort()).toEqual(['Copy-1', 'Member-ann'])
  })
})

describe('an idempotency key of named commands', () => {
  const named = (name: string, amount: number) =>
    defineCommand({
      name,
      reads: (input: { account: string }) => BankAccount(input.account),
      handle: () => Deposited({ amount }),
    })

  test('is not mistaken for another command with an equal input', async () => {
    const store = await opened()
    await execute(store, named('bonus', 1)({ account: 'a' }), { key: 'k' })
    const other = execute(store, named('salary', 100)({ account: 'a' }), { key: 'k' })
    await expect(other).rejects.toThrow(KeyReusedError)
    expect(await execute(store, named('bonus', 1)({ account: 'a' }), { key: 'k' })).toMatchObject({
      repeated: true,
    })
  })
})

describe('an idempotency key of a command with keyedBy', () => {
  class Pay {
    readonly reads = BankAccount('a')
    readonly #amount: number
    readonly made = crypto.randomUUID()

    constructor(amount: number) {
      this.#amount = amount
    }

    keyedBy() {
      return this.#amount
    }

    handle() {
      return Deposited({ amount: this.#amount })
    }
  }

  test('a command with keyedBy is compared by its result, also for an object of a class', async () => {
    const store = await opened()
    await execute(store, new Pay(1), { key: 'k' })
    await expect(execute(store, new Pay(1), { key: 'k' })).resolves.toMatchObject({ repeated: true })
    await expect(execute(store, new Pay(2), { key: 'k' })).rejects.toThrow(KeyReusedError)
  })

  test('calls it only if there is a key, and lets its errors through', async () => {
    const store = await opened()
    const reads = BankAccount('a')
    const keyedBy = () => {
      throw new Error('no such field')
    }
    const command = { reads, keyedBy, handle: () => Deposited({ amount: 1 }) }
    await expect(execute(store, command)).resolves.toMatchObject({ ok: true })
    await expect(execute(store, command, { key: 'k' })).rejects.toThrow('no such field')
    const asynchronous = { ...command, keyedBy: () => Promise.resolve('x') }
    await expect(execute(store, asynchronous, { key: 'k' })).rejects.toThrow('cannot be compared')
  })

  test('is refused if it is no function', () => {
    const define = defineCommand as (definition: object) => unknown
    const command = { keyedBy: 'amount', reads: () => BankAccount('a'), handle: () => [] }
    expect(() => define(command)).toThrow(expect.objectContaining({ argument: 'keyedBy' }))
  })

  test('belongs to the aggregate: streams of another one are another operation', async () => {
    const store = await opened()
    const Other = defineAggregate({
      name: 'Other',
      events: { Noted: event() },
      initial: () => ({}),
      apply: { Noted: (state) => state },
    })
    const keyedBy = () => 'same'
    const first = { reads: BankAccount('a'), keyedBy, handle: () => Deposited({ amount: 1 }) }
    const second = { reads: Other('a'), keyedBy, handle: () => Other.events.Noted() }
    await execute(store, first, { key: 'k' })
    await expect(execute(store, second, { key: 'k' })).rejects.toThrow(KeyReusedError)
  })
})

test('a command whose key stands for an erased event fails alone: those decided with it, and after it, do not', async () => {
  const Bell = defineAggregate({
    name: 'Bell',
    events: { Rung: event() },
    initial: () => ({ rung: 0 }),
    apply: { Rung: ({ rung }) => ({ rung: rung + 1 }) },
  })
  const ring = defineCommand({ reads: (bell: string) => Bell(bell), handle: () => Bell.events.Rung() })
  for (const [other, erase] of [
    ['a', (store: EventStore) => store.truncate(Bell('a'), { before: 1 })],
    ['b', (store: EventStore) => store.delete(Bell('b'))],
  ] as const) {
    const store = memoryStore()
    await execute(store, ring(other), { key: 'old' })
    for (let i = 0; i < 2; i++) await execute(store, ring('a'))
    await erase(store)
    const outcomes = await Promise.allSettled([
      execute(store, ring('a')),
      execute(store, ring('a'), { key: 'old' }),
      execute(store, ring('a'), { key: 'new' }),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    const code = other === 'a' ? 'STREAM_TRUNCATED' : 'STREAM_DELETED'
    expect(outcomes[1]).toMatchObject({ reason: { code } })
    await execute(store, ring('a'))
  }
})
