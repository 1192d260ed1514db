import { describe, expect, test } from 'vitest'
import * as v from 'valibot'
import * as z from 'zod'
import {
  defineAggregate,
  defineEvents,
  event,
  execute,
  InvalidArgumentError,
  InvalidDataError,
  type DataIssue,
} from 'mneme'
import { memoryStore } from 'mneme/memory'
import { BankAccount, Closed, Deposited, Opened } from '../support/bank.ts'
import { eventsOf } from '../support/observed-store.ts'

const { Noted } = defineEvents('Log', { Noted: event<{ n: number }>() })
/** An instance of a class of that name. */
function instanceOf(name: string, methods: object): object {
  return Object.create({ ...methods, constructor: { name } }, {}) as object
}

const noted = (data: unknown) => Noted(data as { n: number })

function issuesOf(make: () => unknown): readonly DataIssue[] {
  try {
    make()
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidDataError)
    expect(error).toMatchObject({ code: 'INVALID_DATA', isRetryable: false })
    return (error as InvalidDataError).issues
  }
  throw new Error('nothing was refused')
}

describe('an event constructor', () => {
  test('makes a plain event of the full type name', () => {
    expect(Opened({ owner: 'Ann' })).toEqual({ type: 'BankAccount.Opened', data: { owner: 'Ann' } })
    expect(Closed()).toEqual({ type: 'BankAccount.Closed', data: {} })
    expect([Opened.type, Opened.version]).toEqual(['BankAccount.Opened', 1])
    expect(Object.keys(Opened({ owner: 'Ann' }))).toEqual(['type', 'data'])
    expect(JSON.parse(JSON.stringify(Opened({ owner: 'Ann' })))).toEqual(Opened({ owner: 'Ann' }))
  })

  test('copies its data, and freezes the copy', () => {
    const given = { list: [{ n: 1 }], deep: { text: 'a' } }
    const made = noted(given) as unknown as { data: typeof given }
    given.list[0]!.n = 2
    given.list.push({ n: 3 })
    given.deep.text = 'b'
    expect(made.data).toEqual({ list: [{ n: 1 }], deep: { text: 'a' } })
    for (const object of [made, made.data, made.data.list, made.data.list[0], made.data.deep]) {
      expect(Object.isFrozen(object)).toBe(true)
    }
    expect(Object.isFrozen(given)).toBe(false)
  })

  test('leaves undefined properties out', async () => {
    const made = noted({ a: undefined, b: { c: undefined, d: null } })
    expect(Object.keys(made.data)).toEqual(['b'])
    expect(made.data).toStrictEqual({ b: { d: null } })
    const store = memoryStore()
    const { events } = await store.append({ stream: 'Log-l', events: [made] })
    expect((await eventsOf(store, 'Log-l'))[0]!.data).toStrictEqual(events[0]!.data)
  })

  test.each([
    ['a bigint', { a: 1n }, 'data.a', 'bigint'],
    ['NaN', { a: [1, NaN] }, 'data.a[1]', 'NaN'],
    ['infinity', { a: -Infinity }, 'data.a', '-Infinity'],
    ['-0', { a: { b: -0 } }, 'data.a.b', '-0'],
    ['a Date', { at: new Date() }, 'data.at', 'Date'],
    ['a Map', { 'a b': new Map() }, 'data["a b"]', 'Map'],
    ['a Set', { a: [[new Set()]] }, 'data.a[0][0]', 'Set'],
    [
      'a class',
      {
        a: new (class Money {
          amount = 1
        })(),
      },
      'data.a',
      'Money',
    ],
    ['a typed array', { a: new Uint8Array(1) }, 'data.a', 'Uint8Array'],
    ['a function', { a: () => 1 }, 'data.a', 'function'],
    ['a symbol', { a: Symbol('s') }, 'data.a', 'symbol'],
    ['undefined in an array', { a: [1, undefined] }, 'data.a[1]', 'undefined'],
    ['a hole in an array', { a: new Array(1) }, 'data.a[0]', 'undefined'],
    ['a key __proto__', JSON.parse('{"a":{"__proto__":1}}'), 'data.a.__proto__', '__proto__'],
    ['a string', 'text', 'data', 'object'],
    ['null', null, 'data', 'object'],
    ['an array', [1], 'data', 'object'],
    ['a boxed number', { a: Object(1) as unknown }, 'data.a', 'Number'],
  ])('refuses %s, with its path', (_, data, path, message) => {
    const [issue, ...more] = issuesOf(() => noted(data))
    expect(more).toEqual([])
    expect(issue!.path).toBe(path)
    expect(issue!.message).toContain(message)
  })

  test.each([
    ['a Date is not JSON: store an ISO string', new Date()],
    ['a Map is not JSON: store an array or an object', new Map()],
    ['an Instant is not JSON: store its ISO string', instanceOf('Instant', {})],
    ['a Dayjs is not JSON: store its ISO string', instanceOf('Dayjs', { toISOString: () => '' })],
    ['an Amount is not JSON: store what its toJSON() returns', instanceOf('Amount', { toJSON: () => '1' })],
    ['a Money is not JSON: store a plain object', instanceOf('Money', {})],
    ['a Uint8Array is not JSON: store a base64 string, or an array', new Uint8Array(1)],
  ] as [string, unknown][])('says what to store instead: %s', (message, value) => {
    expect(issuesOf(() => noted({ at: value }))).toEqual([{ path: 'data.at', message }])
  })

  test('a message stays short, however deep the data and however many its faults', () => {
    let deep: unknown = 1n
    for (let i = 0; i < 600; i++) deep = { 'a key': deep }
    const messageOf = (data: object) => {
      try {
        noted(data)
      } catch (error) {
        return (error as Error).message
      }
      return expect.fail('it was accepted')
    }
    expect(messageOf({ deep }).length).toBeLessThan(200)
    expect(messageOf({ deep })).toContain('data.deep["a key"]')
    expect(messageOf({ ['k'.repeat(10_000)]: 1n }).length).toBeLessThan(200)
    const many = messageOf(Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`f${i}`, 1n])))
    expect(many).toMatch(/data\.f4: a bigint is not JSON: store a string; and 7 more issues$/)
  })

  test('refuses cycles and data too deep to be read', () => {
    const cyclic: Record<string, unknown> = { a: {} }
    ;(cyclic.a as Record<string, unknown>).back = cyclic
    expect(issuesOf(() => noted(cyclic))[0]!.path).toBe('data.a.back')
    const shared = { n: 1 }
    expect(noted({ a: shared, b: [shared, shared] }).data).toEqual({ a: shared, b: [shared, shared] })
    let deep: unknown = 1
    for (let i = 0; i < 100_000; i++) deep = [deep]
    expect(issuesOf(() => noted({ deep }))[0]!.message).toContain('deeper')
  })

  test('names every issue, not only the first', () => {
    expect(issuesOf(() => noted({ a: 1n, b: [NaN], c: { d: new Date() } })).map(({ path }) => path)).toEqual([
      'data.a',
      'data.b[0]',
      'data.c.d',
    ])
  })

  test('reads a property once', () => {
    let reads = 0
    const made = noted({
      get n() {
        return ++reads
      },
    })
    expect(made.data).toEqual({ n: 1 })
    expect(reads).toBe(1)
  })
})

describe('a schema', () => {
  test('checks when the event is made, and names what is wrong by path', () => {
    const { Ordered } = defineEvents('Shop', {
      Ordered: z.object({ items: z.array(z.object({ count: z.int() })) }),
    })
    const issues = issuesOf(() => Ordered({ items: [{ count: 1 }, { count: 'two' as never }] }))
    expect(issues.map(({ path }) => path)).toEqual(['data.items.1.count'])
    expect(() => Ordered({ items: [{ count: 0.5 }] })).toThrow(
      'Shop.Ordered was refused: data.items.0.count: ',
    )
  })

  test('gives what is stored: its output, with defaults and transformed', async () => {
    const Shop = defineAggregate({
      name: 'Shop',
      events: {
        Priced: z.object({
          price: z.string().transform((text) => Number(text) * 100),
          currency: z.string().default('EUR'),
        }),
      },
      initial: () => ({ price: 0 }),
      apply: { Priced: (_, { price }) => ({ price }) },
    })
    const { Priced } = Shop.events
    const made = Priced({ price: '1.5' })
    expect(made.data).toEqual({ price: 150, currency: 'EUR' })
    const store = memoryStore()
    const { events, state } = await execute(store, { reads: Shop('s'), handle: () => made })
    expect(events[0]!.data).toEqual({ price: 150, currency: 'EUR' })
    expect(state).toEqual({ price: 150 })
    expect((await eventsOf(store, 'Shop-s'))[0]!.data).toEqual({ price: 150, currency: 'EUR' })
  })

  test('is not asked twice where an event is given an id of its own', async () => {
    const Shop = defineAggregate({
      name: 'Shop',
      events: { Priced: z.object({ price: z.number().transform((price) => price * 100) }) },
      initial: () => ({ price: 0 }),
      apply: { Priced: (_, { price }) => ({ price }) },
    })
    const made = Shop.events.Priced({ price: 5 })
    const store = memoryStore()
    for (const stream of ['Shop-s', Shop('s')]) {
      await store.append({ stream, events: [{ ...made, id: crypto.randomUUID() }] })
    }
    const handle = () => ({ ...made, id: crypto.randomUUID() })
    await execute(store, { reads: Shop('s'), handle })
    expect((await eventsOf(store, 'Shop-s')).map(({ data }) => data)).toEqual([
      { price: 500 },
      { price: 500 },
      { price: 500 },
    ])
  })

  test('whose output is not JSON is refused', () => {
    const { At } = defineEvents('Shop', { At: z.object({ at: z.coerce.date() }) as never }) as never as {
      At: (data: unknown) => unknown
    }
    expect(issuesOf(() => At({ at: '2020-01-01' }))[0]).toEqual({
      path: 'data.at',
      message: 'a Date is not JSON: store an ISO string',
    })
  })

  test('may be of any library', () => {
    const { Paid } = defineEvents('Shop', { Paid: v.object({ amount: v.pipe(v.number(), v.minValue(1)) }) })
    expect(Paid({ amount: 1 }).data).toEqual({ amount: 1 })
    expect(issuesOf(() => Paid({ amount: 0 }))[0]!.path).toBe('data.amount')
  })

  test('that is asynchronous is refused with a clear error, and its own failure goes nowhere else', async () => {
    const { Late } = defineEvents('Shop', { Late: z.object({ a: z.string().refine(async () => true) }) })
    const { Own } = defineEvents('Shop', {
      Own: {
        '~standard': { version: 1, vendor: 'own', validate: () => Promise.reject(new Error('late')) },
      } as never,
    }) as never as { Own: (data: unknown) => unknown }
    const thenable = {
      '~standard': {
        version: 1,
        vendor: 'own',
        validate: () => ({ then: (done: (v: unknown) => void) => done({ value: {} }) }),
      },
    }
    const { Thenable } = defineEvents('Shop', { Thenable: thenable as never }) as never as {
      Thenable: (data: unknown) => unknown
    }
    for (const make of [() => Late({ a: 'x' }), () => Own({}), () => Thenable({})]) {
      expect(make).toThrow(InvalidArgumentError)
      expect(make).toThrow(/returned a promise; use a synchronous schema/)
    }
    await new Promise((resolve) => setTimeout(resolve, 5))
  })

  test('that throws passes its error through', () => {
    const mine = new Error('mine')
    const schema = {
      '~standard': {
        version: 1,
        vendor: 'own',
        validate: () => {
          throw mine
        },
      },
    }
    const { Thrown } = defineEvents('Shop', { Thrown: schema as never }) as never as {
      Thrown: (data: unknown) => unknown
    }
    expect(() => Thrown({})).toThrow(mine)
  })

  test('with paths of objects and symbols names them', () => {
    const issues = [{ message: 'no', path: [{ key: 'a' }, 0, Symbol('s')] }, { message: 'nor this' }]
    const schema = { '~standard': { version: 1, vendor: 'own', validate: () => ({ issues }) } }
    const { Bad } = defineEvents('Shop', { Bad: schema as never }) as never as {
      Bad: (data: unknown) => unknown
    }
    expect(issuesOf(() => Bad({}))).toEqual([
      { path: 'data.a.0.Symbol(s)', message: 'no' },
      { path: 'data', message: 'nor this' },
    ])
  })
})

describe('a hand-made event', () => {
  const handMade = (made: unknown) =>
    execute(memoryStore(), { reads: BankAccount('a'), handle: () => made as never })

  test('is checked by the schema of its type', async () => {
    const { events } = await handMade({ type: 'BankAccount.Deposited', data: { amount: 5, extra: 1 } })
    expect(events).toMatchObject([{ data: { amount: 5 } }])
    expect((events as unknown as { data: object }[])[0]!.data).not.toHaveProperty('extra')
    await expect(handMade({ type: 'BankAccount.Deposited', data: { amount: -5 } })).rejects.toThrow(
      InvalidDataError,
    )
    const store = memoryStore()
    const negative = { type: 'BankAccount.Deposited', data: { amount: -5 } }
    await expect(store.append({ stream: BankAccount('a'), events: [negative] })).rejects.toThrow(
      InvalidDataError,
    )
  })

  test('is checked to be JSON, and is no live reference', async () => {
    const data = { owner: { name: 'Ann' } }
    const store = memoryStore()
    const appending = store.append({
      stream: 'BankAccount-a',
      events: [{ type: 'BankAccount.Opened', data }],
    })
    data.owner.name = 'Bob'
    const { events } = await appending
    expect(events[0]!.data).toEqual({ owner: { name: 'Ann' } })
    expect((await eventsOf(store, 'BankAccount-a'))[0]!.data).toEqual({ owner: { name: 'Ann' } })
    await expect(handMade({ type: 'BankAccount.Opened', data: { owner: 1n } })).rejects.toThrow('data.owner')
    await expect(handMade({ type: 'BankAccount.Opened' })).rejects.toThrow(InvalidDataError)
  })

  test('of a constructor’s looks is not taken for one', async () => {
    const fake = Object.freeze(
      Object.assign(Object.create(Object.getPrototypeOf(Deposited({ amount: 1 })) as object), {
        ...Deposited({ amount: 1 }),
        data: { amount: -1 },
      }),
    ) as unknown
    await expect(handMade(fake)).rejects.toThrow(InvalidDataError)
    const changed = { ...Deposited({ amount: 1 }), data: { amount: -1 } }
    await expect(handMade(changed)).rejects.toThrow(InvalidDataError)
  })
})

describe('EventType.is', () => {
  test('knows type and version', () => {
    expect(Deposited.is(Deposited({ amount: 1 }))).toBe(true)
    expect(Deposited.is(Opened({ owner: 'A' }))).toBe(false)
    expect(Deposited.is({ ...Deposited({ amount: 1 }), version: 2 })).toBe(false)
    expect(Deposited.is({ type: 'BankAccount.Deposited', data: { amount: 1 } })).toBe(true)
  })
})

describe('events shared by several aggregates', () => {
  test('keep the name that they were defined with', async () => {
    const Audit = defineEvents('Audit', { Flagged: event<{ why: string }>() })
    const Account = defineAggregate({
      name: 'Account',
      events: { Flagged: Audit.Flagged, Closed },
      initial: () => ({ flags: 0 }),
      apply: { Flagged: ({ flags }) => ({ flags: flags + 1 }), Closed: (state) => state },
    })
    expect(Account.events.Flagged).toBe(Audit.Flagged)
    const { events } = await execute(memoryStore(), {
      reads: Account('a'),
      handle: () => [Audit.Flagged({ why: 'late' }), Closed()],
    })
    expect(events.map(({ type }) => type)).toEqual(['Audit.Flagged', 'BankAccount.Closed'])
  })
})
