import { describe, expect, test } from 'vitest'
import { aggregateFromClass, defineAggregate, defineCommand, event, execute, type Recorded } from 'mneme'
import { Deposited, open, BankAccount } from '../support/bank.ts'
import { eventsOf, observedStore, times } from '../support/observed-store.ts'

describe('an error that comes of an old state', () => {
  const List = defineAggregate({
    name: 'List',
    events: { Named: event<{ accounts: string[] }>() },
    initial: () => ({ accounts: [] as readonly string[] }),
    apply: { Named: (_, { accounts }) => ({ accounts }) },
  })
  const audit = defineCommand({
    reads: () => ({ list: List('all') }),
    follow: ({ list }) => ({ accounts: list.accounts.map((id) => BankAccount(id)) }),
    handle: () => [],
  })

  test.each([
    ['too many streams', times(300, String)],
    ['names that differ only in case', ['ann', 'ANN']],
  ])('of %s to follow is not reported: the streams are read anew', async (_, accounts) => {
    const store = observedStore()
    const name = (ids: string[]) => ({
      reads: List('all'),
      handle: () => List.events.Named({ accounts: ids }),
    })
    await execute(store, name(accounts))
    await execute(store.stranger, name(['ann']))
    expect((await execute(store, audit())).state.accounts).toHaveLength(1)
  })

  test('that still holds is reported', async () => {
    const store = observedStore()
    await execute(store, {
      reads: List('all'),
      handle: () => List.events.Named({ accounts: times(300, String) }),
    })
    await expect(execute(store, audit())).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
  })
})

describe('a clone() that throws', () => {
  class Fragile {
    total = 0
    isBroken = false
    apply({ data }: { data: { amount: number } }) {
      this.total += data.amount
      this.isBroken = data.amount === 13
    }
    clone(): Fragile {
      if (this.isBroken) throw new Error('cannot be copied')
      return Object.assign(new Fragile(), this)
    }
  }
  const Sum = aggregateFromClass({
    name: 'Sum',
    events: { Added: event<{ amount: number }>() },
    state: Fragile,
  })
  const add = (amount: number) => ({ reads: Sum('s'), handle: () => Sum.events.Added({ amount }) })
  const addBoth = (amount: number) => ({
    reads: { sum: Sum('s'), account: BankAccount('a') },
    handle: (_: unknown, { on }: { on: { sum: (event: unknown) => never } }) =>
      on.sum(Sum.events.Added({ amount })),
  })

  test('fails its own command alone, and nothing of that is stored', async () => {
    const store = observedStore()
    const outcomes = await Promise.allSettled([1, 13, 2].map((amount) => execute(store, add(amount))))
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    const joint = execute(store, addBoth(13) as never)
    await expect(joint).rejects.toThrow('cannot be copied')
    expect((await eventsOf(store, 'Sum-s')).map(({ data }) => data)).toEqual([{ amount: 1 }, { amount: 2 }])
  })
})

describe('data that would be lost', () => {
  class Points extends Array<number> {}
  const points: object = new Points()

  test.each([
    ['an array with names', Object.assign([1], { index: 2 })],
    ['a match', /b/.exec('abc')],
    ['an array of a class', points],
  ])('%s is refused', async (_, list) => {
    const store = observedStore()
    const append = store.append({ stream: 's', events: [{ type: 'T', data: { list } }] })
    await expect(append).rejects.toMatchObject({ code: 'INVALID_DATA' })
  })
})

test('an idempotency key of an input that cannot be compared is refused', async () => {
  const store = observedStore()
  class Secret {
    readonly #amount: number
    constructor(amount: number) {
      this.#amount = amount
    }
    get reads() {
      return BankAccount('a')
    }
    handle() {
      return Deposited({ amount: this.#amount })
    }
  }
  await execute(store, open('a'))
  const keyed = execute(store, new Secret(1), { key: 'k' })
  await expect(keyed).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'input' })
  expect((await execute(store, new Secret(1))).state.balance).toBe(1)
})

test('whatever writes to a Map or a Set is refused, also what a newer runtime brings', async () => {
  const Stock = defineAggregate({
    name: 'Stock',
    events: { Counted: event() },
    initial: () => ({ items: new Map([['a', 1]]), names: new Set(['a']) }),
    apply: { Counted: (state) => state },
  })
  const store = observedStore()
  const { state } = await execute(store, { reads: Stock('s'), handle: () => [] })
  const readers =
    /^(constructor|get|has|forEach|keys|values|entries|union|intersection|difference|symmetricDifference|is\w+)$/
  for (const collection of [state.items, state.names]) {
    const prototype = Object.getPrototypeOf(collection) as Record<string, unknown>
    for (const name of Object.getOwnPropertyNames(prototype)) {
      if (name === 'size' || readers.test(name)) continue
      expect(() =>
        (collection as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!('x', 1),
      ).toThrow(TypeError)
    }
  }
})

test('a read of memory looks what there is when the first event is asked for', async () => {
  const store = observedStore()
  const forwards = store.read('s')
  const backwards = store.read('s', { direction: 'backwards' })
  await store.append({
    stream: 's',
    events: [
      { type: 'T', data: {} },
      { type: 'T', data: {} },
    ],
  })
  const revisionOf = async (events: AsyncIterator<Recorded>) =>
    ((await events.next()).value as Recorded).revision
  expect(await revisionOf(forwards)).toBe(0)
  expect(await revisionOf(backwards)).toBe(1)
})
