import { type } from 'arktype'
import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { defineAggregate, defineCommand, event, type StandardSchemaV1, subject } from 'mneme'
import { type BreakingChange, type Catalogue, catalogue, diffCatalogues } from 'mneme/catalogue'
import { defineReaction } from 'mneme/reactions'

type Definitions = Readonly<Record<string, StandardSchemaV1>>

/** The catalogue of a program whose aggregate `Order` has these events. */
function program(events: Definitions, more: Partial<Parameters<typeof catalogue>[0]> = {}, name = 'Order') {
  const steps = Object.keys(events).map((key) => [key, (state: object) => state])
  const apply = Object.fromEntries(steps) as Record<string, never>
  const Order = defineAggregate({
    name,
    events: events as Record<string, StandardSchemaV1<{}>>,
    initial: () => ({}),
    apply,
  })
  return catalogue({ aggregates: [Order], ...more })
}

const told = (before: Catalogue, after: Catalogue) =>
  diffCatalogues(before, after).map(({ breaks, kind, subject, path }) =>
    [breaks, kind, subject, ...(path === undefined ? [] : [path])].join(' '),
  )
const Placed = event<{ item: string }>()

test('equal programs have no breaking change', () => {
  const one = program({ Placed, Noted: z.object({ note: z.string() }) })
  expect(told(one, one)).toEqual([])
})

test('an event is added, for the old program only', () => {
  expect(told(program({ Placed }), program({ Placed, Paid: event() }))).toEqual([
    'forward event-added Order.Paid',
  ])
})

test('an event is removed, for its history only', () => {
  expect(told(program({ Placed, Paid: event() }), program({ Placed }))).toEqual([
    'backward event-removed Order.Paid',
  ])
})

test('an event is renamed: with its former name for the old program, without it for both', () => {
  const before = program({ Placed })
  expect(told(before, program({ Ordered: Placed.formerly('Order.Placed') }))).toEqual([
    'forward event-renamed Order.Ordered',
  ])
  expect(told(before, program({ Ordered: Placed }))).toEqual([
    'backward event-removed Order.Placed',
    'forward event-added Order.Ordered',
  ])
  // Deployed before the new name is written.
  expect(
    told(
      program({ Placed: Placed.formerly('Order.Ordered') }),
      program({ Ordered: Placed.formerly('Order.Placed') }),
    ),
  ).toEqual([])
})

test('a former name is forgotten', () => {
  const before = program({ Ordered: Placed.formerly('Order.Placed') })
  expect(told(before, program({ Ordered: Placed }))).toEqual(['backward event-removed Order.Placed'])
})

test('a version is raised or lowered', () => {
  const [old, present] = [
    program({ Placed }),
    program({ Placed: Placed.next(z.object({ a: z.int() }), () => ({ a: 1 })) }),
  ]
  expect(told(old, present)).toEqual(['forward version-raised Order.Placed'])
  expect(told(present, old)).toEqual(['backward version-lowered Order.Placed'])
})

test('an aggregate is removed; a new one breaks nothing', () => {
  const [one, two] = [program({ Placed }), program({ Sent: event() }, {}, 'Invoice')]
  const both = {
    ...one,
    aggregates: { ...one.aggregates, ...two.aggregates },
    events: { ...one.events, ...two.events },
  }
  expect(told(both, one)).toEqual(['backward aggregate-removed Invoice'])
  expect(told(one, both)).toEqual([])
})

test('a field becomes personal, for the old program only, or plain again, for what is recorded', () => {
  const registered = event<{ id: string; email: string }>()
  const personal = registered.personal({ email: ({ id }) => subject('customer', id) })
  const [plain, sealed] = [registered, personal].map((Registered) => program({ Registered }))
  expect(told(plain!, sealed!)).toEqual(['forward personal-changed Order.Registered email'])
  expect(told(sealed!, plain!)).toEqual(['backward personal-changed Order.Registered email'])
})

describe('the schema of a version is changed:', () => {
  const noted = (schema: StandardSchemaV1) => program({ Noted: schema })
  const base = { note: z.string() }
  test.each([
    ['a required field more', z.object(base), z.object({ ...base, by: z.string() }), ['backward by']],
    ['an optional field more', z.object(base), z.object({ ...base, by: z.string().optional() }), []],
    [
      'a default is stored, so old events lack it',
      z.object(base),
      z.object({ ...base, by: z.string().default('') }),
      ['backward by'],
    ],
    ['another type', z.object({ n: z.string() }), z.object({ n: z.number() }), ['backward n', 'forward n']],
    ['a type more', z.object({ n: z.string() }), z.object({ n: z.string().nullable() }), ['forward n']],
    ['a value more', z.object({ k: z.enum(['a']) }), z.object({ k: z.enum(['a', 'b']) }), ['forward k']],
    [
      'a value that becomes a type',
      z.object({ k: z.enum(['a']) }),
      z.object({ k: z.string() }),
      ['forward k'],
    ],
    [
      'an enumeration written as a union',
      z.object({ k: z.enum(['a', 'b']) }),
      z.object({ k: z.union([z.literal('a'), z.literal('b')]) }),
      [],
    ],
    [
      'stricter rules on values',
      z.object({ n: z.number(), note: z.string() }),
      z.object({ n: z.int().min(9), note: z.email().min(5) }),
      [],
    ],
    [
      'within lists and objects',
      z.object({ items: z.array(z.object({ sku: z.string(), to: z.object({ zip: z.string() }) })) }),
      z.object({ items: z.array(z.object({ sku: z.string().optional(), to: z.object({ zip: z.int() }) })) }),
      ['backward items[].to.zip', 'forward items[].sku', 'forward items[].to.zip'],
    ],
    [
      'in a dictionary',
      z.object({ by: z.record(z.string(), z.int()) }),
      z.object({ by: z.record(z.string(), z.string()) }),
      ['backward by.*', 'forward by.*'],
    ],
    [
      'a kind more, and a field of a kind',
      z.object({ v: z.discriminatedUnion('kind', [z.object({ kind: z.literal('a'), a: z.int() })]) }),
      z.object({
        v: z.discriminatedUnion('kind', [
          z.object({ kind: z.literal('a'), a: z.int().optional() }),
          z.object({ kind: z.literal('b') }),
        ]),
      }),
      ['forward v.a', 'forward v.kind'],
    ],
    [
      'from Zod to ArkType, the same',
      z.object({ a: z.string(), n: z.int().optional() }),
      type({ a: 'string', 'n?': 'number' }),
      [],
    ],
    ['from Zod to a type: nobody knows', z.object(base), event<{ other: string }>(), []],
  ])('%s', (_, before: StandardSchemaV1, after: StandardSchemaV1, expected) => {
    const changes = diffCatalogues(noted(before), noted(after))
    for (const { kind, subject } of changes)
      expect([kind, subject]).toEqual(['schema-changed', 'Order.Noted'])
    expect(changes.map(({ breaks, path }) => `${breaks} ${path}`)).toEqual(expected)
  })

  test('one that contains itself', () => {
    const tree = (name: z.ZodType) => {
      const Node = z.object({
        name,
        get inner() {
          return z.array(Node)
        },
      })
      return noted(Node)
    }
    expect(told(tree(z.string()), tree(z.string()))).toEqual([])
    expect(told(tree(z.string()), tree(z.int()))).toEqual([
      'backward schema-changed Order.Noted name',
      'forward schema-changed Order.Noted name',
    ])
  })

  test('with a definition that is used twice', () => {
    const money = (amount: z.ZodType) => {
      const Money = z.object({ amount }).meta({ id: `Money${Math.random()}` })
      return noted(z.object({ net: Money, gross: Money }))
    }
    expect(told(money(z.int()), money(z.string()))).toEqual([
      ...['net.amount', 'gross.amount'].map((path) => `backward schema-changed Order.Noted ${path}`),
      ...['net.amount', 'gross.amount'].map((path) => `forward schema-changed Order.Noted ${path}`),
    ])
  })
})

describe('reactions', () => {
  const Order = defineAggregate({
    name: 'Order',
    events: { Placed },
    initial: () => ({}),
    apply: { Placed: (s) => s },
  })
  const command = (name: string, input: z.ZodType<{ order: string }>) =>
    defineCommand({ name, input, reads: ({ order }) => Order(order), handle: () => [] })
  const one = z.object({ order: z.string() })
  const reacting = (...commands: ReturnType<typeof command>[]) =>
    program(
      { Placed },
      {
        commands,
        reactions: [
          defineReaction({
            name: 'expiry',
            from: [Order],
            commands,
            startAt: 'end',
            on: { 'Order.Placed': () => [] },
          } as never),
        ],
      },
    )

  test('a reaction that is removed leaves its timers', () => {
    expect(told(reacting(command('order.expire', one)), program({ Placed }))).toEqual([
      'backward reaction-removed expiry',
    ])
  })

  test('a reaction that calls other commands breaks on timers of the other program', () => {
    expect(told(reacting(command('order.expire', one)), reacting(command('order.end', one)))).toEqual([
      'backward command-removed order.expire',
      'forward command-added order.end',
    ])
  })

  test('a reaction whose command demands more input breaks on timers that are set', () => {
    const after = reacting(command('order.expire', z.object({ order: z.string(), why: z.string() })))
    expect(told(reacting(command('order.expire', one)), after)).toEqual([
      'backward input-changed order.expire why',
    ])
  })
})

test('messages say what happens, and what to do', () => {
  const messages = (before: Definitions, after: Definitions): string[] =>
    diffCatalogues(program(before), program(after)).map(({ message }: BreakingChange) => message)
  expect(
    messages({ Noted: z.object({ n: z.string() }) }, { Noted: z.object({ n: z.int(), by: z.string() }) }),
  ).toEqual([
    'in a recorded Order.Noted, by can be absent, but was expected: give it a new version, by .next',
    'in a recorded Order.Noted, n can be string, but number was expected: give it a new version, by .next',
    'in a new Order.Noted, n can be number, but string was expected: first deploy a program that expects both',
  ])
  expect(messages({ Placed }, { Placed, Paid: event() })).toEqual([
    'Order.Paid is new: programs that are still running refuse streams of Order that have one; first deploy a program that knows it, then one that writes it',
  ])
})

test('what is no catalogue is refused', () => {
  const one = program({ Placed })
  expect(() => diffCatalogues({} as Catalogue, one)).toThrow('before must be what catalogue() returned')
  expect(() => diffCatalogues(one, { ...one, format: 'mneme catalogue 2' })).toThrow(
    "of the format 'mneme catalogue 1'",
  )
})
