import { describe, expect, test } from 'vitest'
import {
  ConflictError,
  defineAggregate,
  defineCommand,
  event,
  execute,
  InvalidArgumentError,
  InvalidDataError,
  RejectedError,
  reject,
  tryExecute,
  ofType,
} from 'mneme'
import { memoryStore } from 'mneme/memory'
import {
  BankAccount,
  Closed,
  deposit,
  Deposited,
  open,
  Opened,
  transfer,
  withdraw,
  Withdrawn,
} from '../support/bank.ts'
import { eventsOf, observedStore } from '../support/observed-store.ts'

/** The context of commands that the types refuse. */
interface Context {
  readonly on: Readonly<Record<'a' | 'many' | 'named' | 'absent' | 'other', (...args: unknown[]) => unknown>>
}

/** What the compiler refuses and a program in JavaScript may still do. */
const untyped = execute as (...args: unknown[]) => Promise<unknown>
const handling = (handle: (...args: never[]) => unknown, reads: unknown = BankAccount('a')) => ({
  reads,
  handle,
})

describe('the result', () => {
  test('holds the events as stored, the state, the revisions, the position and the attempts', async () => {
    const store = memoryStore()
    await execute(store, open('alice'), { metadata: { actor: 'ann' } })
    const result = await execute(store, deposit({ account: 'alice', amount: 30 }), {
      metadata: { actor: 'ann', correlation: 'c-1' },
    })
    const stored = await eventsOf(store, 'BankAccount-alice')
    expect(result).toEqual({
      ok: true,
      events: [stored[1]],
      state: { balance: 30, open: true },
      revisions: new Map([['BankAccount-alice', 1]]),
      position: stored[1]!.position,
      attempts: 1,
      repeated: false,
    })
    expect(stored[1]).toMatchObject({
      type: 'BankAccount.Deposited',
      data: { amount: 30 },
      stream: 'BankAccount-alice',
      revision: 1,
      version: 1,
      metadata: { actor: 'ann', correlation: 'c-1' },
    })
    expect(stored[1]!.id).toMatch(/^[0-9a-f-]{36}$/)
    expect(stored[1]!.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  })

  test('over several streams has the shape of what was read, and every revision', async () => {
    const store = memoryStore()
    await store.append({
      stream: BankAccount('a'),
      events: [Opened({ owner: 'A' }), Deposited({ amount: 5 })],
    })
    await store.append({ stream: BankAccount('b'), events: [Opened({ owner: 'B' })] })
    const result = await execute(store, transfer({ from: 'a', to: 'b', amount: 2 }))
    expect(result.state).toEqual({ from: { balance: 3, open: true }, to: { balance: 2, open: true } })
    expect(result.revisions).toEqual(
      new Map([
        ['BankAccount-a', 2],
        ['BankAccount-b', 1],
      ]),
    )
    expect(result.events.map(({ type, stream, revision }) => [type, stream, revision])).toEqual([
      ['BankAccount.Withdrawn', 'BankAccount-a', 2],
      ['BankAccount.Deposited', 'BankAccount-b', 1],
    ])
    expect(result.position).toBe(result.events[1]!.position)
    expect(result.events).toEqual([
      (await eventsOf(store, 'BankAccount-a'))[2],
      (await eventsOf(store, 'BankAccount-b'))[1],
    ])
  })

  test('of a decision without events has no position, and where the stream stands', async () => {
    const store = memoryStore()
    const nothing = handling(() => [])
    const before = await untyped(store, nothing)
    expect(before).toMatchObject({
      events: [],
      position: undefined,
      revisions: new Map([['BankAccount-a', 'none']]),
    })
    await store.append({ stream: BankAccount('a'), events: [Opened({ owner: 'A' })] })
    const after = await untyped(store, nothing)
    expect(after).toMatchObject({ ok: true, events: [], revisions: new Map([['BankAccount-a', 0]]) })
    expect(await eventsOf(store, 'BankAccount-a')).toHaveLength(1)
  })

  test('of several events keeps their order', async () => {
    const store = memoryStore()
    const many = defineCommand({
      reads: () => BankAccount('a'),
      handle: () => [Opened({ owner: 'A' }), Deposited({ amount: 1 }), Withdrawn({ amount: 1 }), Closed()],
    })
    const { events, state, revisions } = await execute(store, many())
    expect(events.map(({ revision }) => revision)).toEqual([0, 1, 2, 3])
    expect(events.map(({ type }) => type)).toEqual([Opened.type, Deposited.type, Withdrawn.type, Closed.type])
    expect(state).toEqual({ balance: 0, open: false })
    expect(revisions.get('BankAccount-a')).toBe(3)
  })

  test('names a stream only once that was read under two keys', async () => {
    const store = memoryStore()
    await store.append({
      stream: BankAccount('a'),
      events: [Opened({ owner: 'A' }), Deposited({ amount: 5 })],
    })
    const { state, revisions, events } = await execute(store, transfer({ from: 'a', to: 'a', amount: 2 }))
    expect(state).toEqual({ from: { balance: 5, open: true }, to: { balance: 5, open: true } })
    expect(revisions).toEqual(new Map([['BankAccount-a', 3]]))
    expect(events.map(({ revision }) => revision)).toEqual([2, 3])
  })
})

describe('a rejection', () => {
  test('is thrown by execute, and narrowed by the command type', async () => {
    const store = memoryStore()
    await store.append({
      stream: BankAccount('a'),
      events: [Opened({ owner: 'A' }), Deposited({ amount: 5 })],
    })
    const error = await execute(store, withdraw({ account: 'a', amount: 9 })).catch(
      (thrown: unknown) => thrown,
    )
    expect(error).toBeInstanceOf(RejectedError)
    expect(error).toMatchObject({ code: 'REJECTED', isRetryable: false })
    expect(withdraw.rejected(error) && error.rejection).toEqual({ reason: 'insufficient-funds', balance: 5 })
    expect(deposit.rejected(error)).toBe(false)
    expect(withdraw.rejected(new Error('another'))).toBe(false)
    expect(await eventsOf(store, 'BankAccount-a')).toHaveLength(2)
  })

  test('is resolved with by tryExecute', async () => {
    const result = await tryExecute(memoryStore(), withdraw({ account: 'a', amount: 9 }))
    const revisions = new Map([['BankAccount-a', 'none']])
    expect(result).toEqual({ ok: false, rejection: { reason: 'not-open' }, revisions, attempts: 1 })
  })

  test('keeps its reason, whatever its detail says', async () => {
    const command = handling(() => reject('mine', { reason: 'theirs', more: 1 } as object))
    await expect(untyped(memoryStore(), command)).rejects.toMatchObject({
      rejection: { reason: 'mine', more: 1 },
    })
  })

  test('takes only a string as its reason', () => {
    expect(() => reject(5 as never)).toThrow(InvalidArgumentError)
  })

  test('a rejection inside an array is refused over one stream', async () => {
    const one = untyped(
      memoryStore(),
      handling(() => [Opened({ owner: 'A' }), reject('no')]),
    )
    await expect(one).rejects.toThrow(InvalidArgumentError)
  })
})

describe('an error of handle', () => {
  test.each([
    new Error('mine'),
    new ConflictError({ stream: 's', expected: 0, actual: 1 }),
    'a string',
    undefined,
  ])('passes through unchanged: %s', async (mine) => {
    let calls = 0
    const failing = () => {
      calls++
      throw mine
    }
    const store = memoryStore()
    const outcomes = await Promise.allSettled([
      untyped(store, handling(failing)),
      untyped(
        store,
        handling(async () => failing()),
      ),
      untyped(store, handling(failing, { a: BankAccount('a') })),
      untyped(
        store,
        handling(async () => failing(), { a: BankAccount('a'), b: BankAccount('b') }),
      ),
    ])
    for (const outcome of outcomes) {
      expect(outcome.status).toBe('rejected')
      expect((outcome as PromiseRejectedResult).reason).toBe(mine)
    }
    expect(calls).toBe(4)
  })
})

describe('what handle returns', () => {
  test.each([
    ['nothing', undefined],
    ['null', null],
    ['a string', 'BankAccount.Opened'],
    ['a number', 1],
    ['true', true],
    ['a function', () => Opened({ owner: 'A' })],
    ['an empty object', {}],
    ['an array in an array', [[Opened({ owner: 'A' })]]],
    ['a constructor, not called', Opened],
    ['an array with a hole', [Opened({ owner: 'A' }), undefined]],
    ['an event without a type', { type: undefined, data: {} }],
    ['an event of a numeric type', { type: 5, data: {} }],
    ['an event of a wrong version', { type: Opened.type, data: { owner: 'A' }, version: 'one' }],
    ['an event with a wrong id', { type: Opened.type, data: { owner: 'A' }, id: 'one' }],
  ])('is refused where it is %s', async (_, returned) => {
    for (const handle of [() => returned, async () => returned]) {
      const store = memoryStore()
      const error = await untyped(store, handling(handle)).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(InvalidArgumentError)
      expect((error as Error).message).toMatch(/^what handle returns/)
      expect(await store.logHead()).toBeUndefined()
    }
  })

  test.each([
    ['nothing', () => undefined],
    ['an event without a stream', () => Opened({ owner: 'A' })],
    ['a stream that was not read', () => ({ stream: 'BankAccount-c', events: [Opened({ owner: 'C' })] })],
    ['a stream without events', () => ({ stream: 'BankAccount-a' })],
    ['events that are no array', () => ({ stream: 'BankAccount-a', events: Opened({ owner: 'A' }) })],
    ['on with undefined', (_: never, { on }: Context) => on.a(undefined)],
    ['on with null', (_: never, { on }: Context) => on.a(null)],
    ['on with a string', (_: never, { on }: Context) => on.a('BankAccount.Opened')],
    ['on with an array', (_: never, { on }: Context) => on.a([Opened({ owner: 'A' })])],
    ['on with a rejection', (_: never, { on }: Context) => on.a(reject('no'))],
    ['on of a stream that was left out', (_: never, { on }: Context) => on.absent(Opened({ owner: 'A' }))],
    ['on of a key that there never is', (_: never, { on }: Context) => on.other(Opened({ owner: 'A' }))],
    ['on of an array without an index', (_: never, { on }: Context) => on.many(Opened({ owner: 'A' }))],
    [
      'on of an array with an index beyond',
      (_: never, { on }: Context) => on.many(2, Opened({ owner: 'A' })),
    ],
    [
      'on of an array with a negative index',
      (_: never, { on }: Context) => on.many(-1, Opened({ owner: 'A' })),
    ],
    [
      'on of an array with its length',
      (_: never, { on }: Context) => on.many('length', Opened({ owner: 'A' })),
    ],
    [
      'on of a record with an unknown key',
      (_: never, { on }: Context) => on.named('z', Opened({ owner: 'A' })),
    ],
    [
      'on of a record with a key of every object',
      (_: never, { on }: Context) => on.named('toString', Closed()),
    ],
  ])('over several streams is refused where it is %s', async (_, handle) => {
    const store = memoryStore()
    const reads = {
      a: BankAccount('a'),
      many: [BankAccount('m0'), BankAccount('m1')],
      named: { x: BankAccount('x') },
      absent: undefined,
    }
    const error = await untyped(store, handling(handle as never, reads)).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(InvalidArgumentError)
    expect((error as Error).message).toMatch(/^(what handle returns|on\.)/)
    expect(await store.logHead()).toBeUndefined()
  })

  test('tells of a stream that follow left out', async () => {
    const command = defineCommand({
      reads: (_: boolean) => ({ a: BankAccount('a') }),
      follow: (_, isThere) => (isThere ? { b: BankAccount('b') } : {}),
      handle: (_, isThere, { on }) => (on as { b: typeof on.a }).b(Opened({ owner: String(isThere) })),
    })
    const store = memoryStore()
    await expect(execute(store, command(false))).rejects.toThrow(
      "on.b(...): this decision reads no stream under 'b', because reads or follow left it out; record events only if the state has 'b'",
    )
    await expect(execute(store, command(true))).resolves.toMatchObject({ ok: true })
  })

  test('may have a rejection among events, which rejects the whole command', async () => {
    const store = memoryStore()
    const command = defineCommand({
      reads: () => ({ a: BankAccount('a'), b: BankAccount('b') }),
      handle: (_, __, { on }) => [on.a(Opened({ owner: 'A' })), reject('no', { code: 7 }), reject('later')],
    })
    const outcome = await tryExecute(store, command())
    expect(outcome.ok || outcome.rejection).toEqual({ reason: 'no', code: 7 })
    expect(await store.logHead()).toBeUndefined()
  })

  test('may name streams by index and by key', async () => {
    const store = memoryStore()
    const command = defineCommand({
      reads: () => ({ many: [BankAccount('m0'), BankAccount('m1')], named: { x: BankAccount('x') } }),
      handle: (_, __, { on }) => [
        on.many(1, Opened({ owner: 'M' }), Deposited({ amount: 1 })),
        on.named('x', Opened({ owner: 'X' })),
      ],
    })
    const { state, events } = await execute(store, command())
    expect(events.map(({ stream }) => stream)).toEqual(['BankAccount-m1', 'BankAccount-m1', 'BankAccount-x'])
    expect(state).toEqual({
      many: [
        { balance: 0, open: false },
        { balance: 1, open: true },
      ],
      named: { x: { balance: 0, open: true } },
    })
  })

  test('may be a hand-made OnStream of a stream that was read', async () => {
    const store = memoryStore()
    const made = handling(() => ({ stream: 'BankAccount-a', events: [Opened({ owner: 'A' })] }), {
      a: BankAccount('a'),
    })
    await untyped(store, made)
    expect(await store.head('BankAccount-a')).toBe(0)
  })

  test('must not give one id to two events', async () => {
    const id = crypto.randomUUID()
    const twice = () => [1, 2].map((amount) => ({ ...Deposited({ amount }), id }))
    const store = memoryStore()
    await expect(untyped(store, handling(twice))).rejects.toThrow(InvalidArgumentError)
    const several = handling(() => [{ stream: 'BankAccount-a', events: twice() }], { a: BankAccount('a') })
    await expect(untyped(store, several)).rejects.toThrow(InvalidArgumentError)
    expect(await store.logHead()).toBeUndefined()
  })
})

describe('what execute is given', () => {
  test.each([[undefined], [null], [{}], ['memory:'], [new Proxy({}, {})]])(
    'refuses what is no store: %s',
    async (store) => {
      await expect(untyped(store, open('a'))).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        argument: 'store',
      })
      await expect((tryExecute as typeof untyped)(store, open('a'))).rejects.toMatchObject({
        argument: 'store',
      })
    },
  )

  test.each([
    ['undefined', undefined, 'command'],
    ['null', null, 'command'],
    ['a command type, not called', open, 'command'],
    ['an object without handle', { reads: BankAccount('a') }, 'command'],
    ['a handle that is no function', { reads: BankAccount('a'), handle: 5 }, 'command'],
    ['an object without reads', { handle: () => [] }, 'reads'],
    ['an aggregate, not called', { reads: BankAccount, handle: () => [] }, 'reads'],
    ['an array of streams', { reads: [BankAccount('a')], handle: () => [] }, 'reads'],
    ['a name in place of a stream', { reads: 'BankAccount-a', handle: () => [] }, 'reads'],
    ['a name among the streams', { reads: { a: 'BankAccount-a' }, handle: () => [] }, 'reads.a'],
    ['null among the streams', { reads: { a: null }, handle: () => [] }, 'reads.a'],
    ['an aggregate among the streams', { reads: { a: BankAccount }, handle: () => [] }, 'reads.a'],
    ['a name in an array', { reads: { a: [BankAccount('a'), 'b'] }, handle: () => [] }, 'reads.a[1]'],
    ['a name in a record', { reads: { a: { x: 'b' } }, handle: () => [] }, 'reads.a.x'],
    [
      'a follow that is no function',
      { reads: { a: BankAccount('a') }, follow: 5, handle: () => [] },
      'follow',
    ],
  ])('refuses as a command: %s', async (_, command, argument) => {
    const store = memoryStore()
    await expect(untyped(store, command)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', argument })
  })

  test.each([
    ['null', null, 'options'],
    ['a string', 'key', 'options'],
    ['a misspelt name', { metaData: {} }, 'options.metaData'],
    ['an expectation without a stream', { expected: 'none' }, 'expected'],
    ['an expectation that is an array', { expected: [0] }, 'expected'],
    [
      'an expectation that is no revision',
      { expected: { 'BankAccount-a': -1 } },
      'expected["BankAccount-a"]',
    ],
    ['an expectation of a stream without a name', { expected: { '': 0 } }, 'the stream in expected'],
    ['an expectation of a stream that is not read', { expected: { 'BankAccount-b': 0 } }, 'expected'],
    ['metadata that is a string', { metadata: 'ann' }, 'metadata'],
    ['metadata that is an array', { metadata: ['ann'] }, 'metadata'],
    ['metadata that is a Map', { metadata: new Map([['actor', 'ann']]) }, 'metadata'],
    ['metadata that is null', { metadata: null }, 'metadata'],
    ['metadata that is a number', { metadata: 5 }, 'metadata'],
    ['a key that is a number', { key: 5 }, 'key'],
    ['a blank key', { key: ' ' }, 'key'],
    ['a key that is null', { key: null }, 'key'],
    ['a signal that is null', { signal: null }, 'signal'],
    ['a controller in place of its signal', { signal: new AbortController() }, 'signal'],
    ['a signal that is a look-alike', { signal: { aborted: false } }, 'signal'],
    ['retry that is a number', { retry: 3 }, 'retry'],
    ['retry that is null', { retry: null }, 'retry'],
    ['a misspelt name in retry', { retry: { retries: 3 } }, 'retry.retries'],
    ['onRetry that is no function', { onRetry: true }, 'onRetry'],
    ['onRetry that is null', { onRetry: null }, 'onRetry'],
    ['needs that is a function', { needs: () => ({}) }, 'needs'],
    ['needs that is a string', { needs: 'clock' }, 'needs'],
    ['needs that is null', { needs: null }, 'needs'],
  ])('refuses options: %s', async (_, options, argument) => {
    const store = memoryStore()
    await expect(untyped(store, open('a'), options)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument,
    })
    expect(await store.logHead()).toBeUndefined()
  })

  test('refuses metadata that no store keeps', async () => {
    const refused = [{ actor: 5 }, { '': 'x' }, { $causedBy: 'x' }, JSON.parse('{"__proto__":"x"}') as object]
    for (const metadata of refused) {
      await expect(untyped(memoryStore(), open('a'), { metadata })).rejects.toBeInstanceOf(InvalidDataError)
    }
  })

  test('refuses names of streams that no store keeps, read or followed', async () => {
    const store = memoryStore()
    for (const id of ['x'.repeat(600), 'a\u0000b', '\uD800']) {
      const reads = BankAccount
      const one = (): unknown => ({ reads: reads(id), handle: () => Opened({ owner: 'A' }) })
      const several = (): unknown => ({ reads: { a: reads(id) }, handle: () => [] })
      const followed = (): unknown => ({
        reads: { a: reads('a') },
        follow: () => ({ b: reads(id) }),
        handle: () => [],
      })
      const named = (): unknown =>
        handling(() => Opened({ owner: 'A' }), { ...reads('a'), stream: `X-${id}` })
      for (const make of [one, several, followed, named]) {
        const attempt = Promise.resolve().then(() => untyped(store, make()))
        await expect(attempt).rejects.toMatchObject({ code: /^(INVALID_ARGUMENT|LIMIT_EXCEEDED)$/ })
      }
    }
    expect(await store.logHead()).toBeUndefined()
  })
})

describe('the context of handle', () => {
  test('has the attempt, the metadata, the signal, the revision and what the command needs', async () => {
    const store = memoryStore()
    const seen: unknown[] = []
    const command = defineCommand({
      needs: ofType<{ now: () => number }>(),
      reads: () => BankAccount('a'),
      handle: (_, __, context) => {
        seen.push(context.now(), context.attempt, context.revision, context.metadata, context.signal.aborted)
        return Opened({ owner: 'A' })
      },
    })
    const options = { needs: { now: () => 42 }, metadata: { actor: 'ann' } }
    await execute(store, command(), options)
    await execute(store, command(), options)
    expect(seen).toEqual([42, 1, 'none', { actor: 'ann' }, false, 42, 1, 0, { actor: 'ann' }, false])
  })

  test('has the caller’s own signal', async () => {
    const { signal } = new AbortController()
    let seen: unknown
    const command = handling((_: never, context: { signal: AbortSignal }) => {
      seen = context.signal
      return []
    })
    await untyped(memoryStore(), command, { signal })
    expect(seen).toBe(signal)
  })

  test('counts the attempts', async () => {
    const store = observedStore()
    const attempts: number[] = []
    store.beforeAppend = async () => {
      if (attempts.length < 3)
        await store.stranger.append({ stream: 'BankAccount-a', events: [Opened({ owner: 'B' })] })
    }
    const { attempts: reported } = await execute(
      store,
      {
        reads: BankAccount('a'),
        handle: (_, { attempt }) => {
          attempts.push(attempt)
          return Deposited({ amount: 1 })
        },
      },
      { retry: { baseDelay: 0 } },
    )
    expect(attempts).toEqual([1, 2, 3])
    expect(reported).toBe(3)
  })

  test('cannot have its own names taken by needs', async () => {
    let seen: unknown
    const command = handling((_: never, context: { attempt: unknown }) => {
      seen = context.attempt
      return []
    })
    await untyped(memoryStore(), command, { needs: { attempt: 'mine', clock: 1 } })
    expect(seen).toBe(1)
  })
})

describe('what a command may be', () => {
  test('an object of a class', async () => {
    class Deposit {
      readonly reads
      readonly #amount: number
      constructor(account: string, amount: number) {
        this.reads = BankAccount(account)
        this.#amount = amount
      }
      handle() {
        return Deposited({ amount: this.#amount })
      }
    }
    const { state } = await execute(memoryStore(), new Deposit('a', 7))
    expect(state.balance).toBe(7)
  })

  test('one with a getter for what it reads', async () => {
    class Open {
      get reads() {
        return BankAccount('a')
      }
      handle() {
        return Opened({ owner: 'A' })
      }
    }
    expect((await execute(memoryStore(), new Open())).state.open).toBe(true)
  })

  test('one whose handle returns a promise', async () => {
    const store = memoryStore()
    const command = defineCommand({
      reads: () => BankAccount('a'),
      handle: async () => {
        await Promise.resolve()
        return Opened({ owner: 'A' })
      },
    })
    expect((await execute(store, command())).state.open).toBe(true)
  })

  test('one that reads nothing', async () => {
    const result = await untyped(
      memoryStore(),
      handling(() => [], {}),
    )
    expect(result).toMatchObject({
      ok: true,
      state: {},
      events: [],
      revisions: new Map(),
      position: undefined,
    })
    await expect(
      untyped(
        memoryStore(),
        handling(() => [], {}),
        { key: 'k' },
      ),
    ).resolves.toMatchObject({ ok: true })
  })

  test('one that leaves a stream out', async () => {
    const command = defineCommand({
      reads: (voucher: string | undefined) => ({
        account: BankAccount('a'),
        voucher: voucher === undefined ? undefined : BankAccount(voucher),
      }),
      handle: ({ voucher }, _, { on }) => on.account(Opened({ owner: voucher ? 'with' : 'without' })),
    })
    const { events, revisions, state } = await execute(memoryStore(), command(undefined))
    expect(events[0]!.data).toEqual({ owner: 'without' })
    expect([...revisions.keys()]).toEqual(['BankAccount-a'])
    expect(state.voucher).toBeUndefined()
  })
})

describe('follow', () => {
  const Order = defineAggregate({
    name: 'Order',
    events: { Placed: event<{ account: string }>(), Paid: event() },
    initial: () => ({ account: 'none' }),
    apply: { Placed: (_, { account }) => ({ account }), Paid: (state) => state },
  })
  const pay = defineCommand({
    reads: (order: string) => ({ order: Order(order) }),
    follow: ({ order }) => ({ account: BankAccount(order.account) }),
    handle: ({ account }, _, { on }) =>
      account.balance < 1
        ? reject('poor')
        : [on.order(Order.events.Paid()), on.account(Withdrawn({ amount: 1 }))],
  })

  test('reads further streams, which are conditions as well', async () => {
    const store = observedStore()
    await store.append({ stream: Order('o'), events: [Order.events.Placed({ account: 'a' })] })
    await store.append({
      stream: BankAccount('a'),
      events: [Opened({ owner: 'A' }), Deposited({ amount: 5 })],
    })
    store.forget()
    const { state } = await execute(store, pay('o'))
    expect(state.account.balance).toBe(4)
    expect(store.appends[0]!.conditions).toEqual([
      { stream: 'Order-o', expected: 0 },
      { stream: 'BankAccount-a', expected: 1 },
    ])
  })

  test('follows the stream that the current state names, not the one at hand', async () => {
    const store = observedStore()
    await store.append({ stream: Order('o'), events: [Order.events.Placed({ account: 'a' })] })
    await store.append({
      stream: BankAccount('b'),
      events: [Opened({ owner: 'B' }), Deposited({ amount: 5 })],
    })
    expect(await tryExecute(store, pay('o'))).toMatchObject({ ok: false, rejection: { reason: 'poor' } })
    await store.stranger.append({ stream: Order('o'), events: [Order.events.Placed({ account: 'b' })] })
    expect(await tryExecute(store, pay('o'))).toMatchObject({ ok: true, state: { account: { balance: 4 } } })
  })

  test('that throws on a state that still stands passes its error through', async () => {
    const mine = new Error('mine')
    const failing = {
      reads: { a: BankAccount('a') },
      follow: () => {
        throw mine
      },
      handle: () => [],
    }
    await expect(untyped(memoryStore(), failing)).rejects.toBe(mine)
  })

  test('that throws on an old state is asked again', async () => {
    const store = observedStore()
    await execute(store, open('a'))
    await store.stranger.append({ stream: BankAccount('a'), events: [Deposited({ amount: 1 })] })
    const { state, attempts } = await execute(store, {
      reads: { a: BankAccount('a') },
      follow: ({ a }: { a: { balance: number } }) => {
        if (a.balance === 0) throw new Error('an old state')
        return {}
      },
      handle: () => [],
    })
    expect(state.a.balance).toBe(1)
    expect(attempts).toBeLessThanOrEqual(2)
  })

  test('must not name what reads names already', async () => {
    const command = {
      reads: { a: BankAccount('a') },
      follow: () => ({ a: BankAccount('b') }),
      handle: () => [],
    }
    await expect(untyped(memoryStore(), command)).rejects.toMatchObject({ argument: 'follow.a' })
  })
})
