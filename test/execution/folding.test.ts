import { describe, expect, test } from 'vitest'
import {
  defineAggregate,
  event,
  execute,
  FoldError,
  load,
  StreamTruncatedError,
  UnknownEventError,
  type Executed,
} from 'mneme'
import { memoryStore } from 'mneme/memory'
import { BankAccount, deposit, Deposited, open, Opened, transfer } from '../support/bank.ts'
import { eventsOf, observedStore, times } from '../support/observed-store.ts'

const untyped = execute as (...args: unknown[]) => Promise<Executed<unknown, unknown>>
const nothing = (reads: unknown) => ({ reads, handle: () => [] })

const mine = new Error('mine')
const Fragile = defineAggregate({
  name: 'Fragile',
  events: { Hit: event<{ force: number }>() },
  initial: () => ({ force: 0 }),
  apply: {
    Hit: ({ force }, data) => {
      if (data.force > 9) throw mine
      return { force: force + data.force }
    },
  },
})
const { Hit } = Fragile.events
const fragile = Fragile('f')

describe('an apply that throws', () => {
  test('on a decided event fails with FoldError, and nothing is written', async () => {
    for (const reads of [fragile, { fragile }]) {
      const store = observedStore()
      await execute(store, { reads: fragile, handle: () => Hit({ force: 1 }) })
      store.forget()
      const on = (...events: unknown[]) => (reads === fragile ? events : { stream: fragile.stream, events })
      const hitting = { reads, handle: () => on(Hit({ force: 2 }), Hit({ force: 10 })) }
      const error = await untyped(store, hitting).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(FoldError)
      expect(error).toMatchObject({
        code: 'FOLD_FAILED',
        isRetryable: false,
        stream: 'Fragile-f',
        type: 'Fragile.Hit',
        revision: 2,
        cause: mine,
        message: 'apply failed on Fragile.Hit at "Fragile-f" revision 2',
      })
      expect(store.data.log).toHaveLength(1)
      for (const { events } of store.appends) expect(events).toEqual([])
    }
  })

  test('on a stored event fails with FoldError', async () => {
    const store = observedStore()
    await store.append({
      stream: 'Fragile-f',
      events: [Hit({ force: 1 }), Hit({ force: 10 }), Hit({ force: 1 })],
    })
    for (const reads of [fragile, { fragile }, { fragile, other: BankAccount('a') }]) {
      const failed = untyped(store, nothing(reads))
      await expect(failed).rejects.toMatchObject({ code: 'FOLD_FAILED', revision: 1, cause: mine })
    }
  })

  test('on an event read on from a state at hand fails with FoldError, and works again when mended', async () => {
    const store = observedStore()
    await execute(store, { reads: fragile, handle: () => Hit({ force: 1 }) })
    await store.stranger.append({ stream: 'Fragile-f', events: [Hit({ force: 10 })] })
    await expect(untyped(store, nothing(fragile))).rejects.toMatchObject({ code: 'FOLD_FAILED', revision: 1 })
    await expect(untyped(store, nothing({ fragile }))).rejects.toMatchObject({
      code: 'FOLD_FAILED',
      revision: 1,
    })
    store.data.log.pop()
    store.data.streams.get('Fragile-f')?.pop()
    expect((await untyped(store, nothing(fragile))).state).toEqual({ force: 1 })
  })

  test('with an error of Mneme’s own fails with FoldError all the same', async () => {
    const Nested = defineAggregate({
      name: 'Nested',
      events: { Hit: event() },
      initial: () => ({}),
      apply: {
        Hit: () => {
          throw new UnknownEventError({ stream: 'another', type: 'Another', version: 1 }, '')
        },
      },
    })
    const hitting = { reads: Nested('n'), handle: () => Nested.events.Hit() }
    await expect(execute(observedStore(), hitting)).rejects.toMatchObject({
      code: 'FOLD_FAILED',
      type: 'Nested.Hit',
    })
  })

  test('on a decision made on an old state is decided anew', async () => {
    for (const reads of [fragile, { fragile }]) {
      const store = observedStore()
      await execute(store, { reads: fragile, handle: () => Hit({ force: 1 }) })
      await store.stranger.append({ stream: fragile, events: [Hit({ force: 1 })] })
      const hitting = {
        reads,
        handle: (states: { force: number; fragile: { force: number } }) => {
          const { force } = reads === fragile ? states : states.fragile
          const hit = Hit({ force: force === 1 ? 10 : 2 })
          return reads === fragile ? hit : { stream: fragile.stream, events: [hit] }
        },
      }
      const { state } = await untyped(store, hitting)
      expect(state).toEqual(reads === fragile ? { force: 4 } : { fragile: { force: 4 } })
    }
  })
})

describe('apply', () => {
  test('sees what is known of an event before it is stored, alike when it is folded again', async () => {
    const seen: unknown[] = []
    const Log = defineAggregate({
      name: 'Log',
      events: { Noted: event<{ n: number }>() },
      initial: () => ({ notes: 0 }),
      apply: {
        Noted: ({ notes }, data, event) => {
          seen.push({ data, event: { ...event } })
          return { notes: notes + 1 }
        },
      },
    })
    const store = observedStore()
    const noting = { reads: Log('l'), handle: () => times(2, (n) => Log.events.Noted({ n })) }
    await execute(store, noting, { metadata: { actor: 'ann' } })
    await untyped(observedStore({}, store.data), nothing(Log('l')))
    const [first] = await eventsOf(store, 'Log-l')
    const { id, stream, revision, metadata, type, version, data } = first!
    expect(seen[0]).toEqual({
      data: { n: 0 },
      event: { id, stream, revision, metadata, type, version, data },
    })
    expect(seen.slice(2)).toEqual(seen.slice(0, 2))
    expect(seen).toHaveLength(4)
  })

  test('may change the data of its event without anybody noticing', async () => {
    const List = defineAggregate({
      name: 'List',
      events: { Added: event<{ items: number[] }>() },
      initial: () => ({ last: -1 }),
      apply: { Added: (_, { items }) => ({ last: items.pop() ?? -1 }) },
    })
    const store = observedStore()
    const { events, state } = await execute(store, {
      reads: List('l'),
      handle: () => List.events.Added({ items: [1, 2] }),
    })
    expect(state).toEqual({ last: 2 })
    expect(events[0]!.data).toEqual({ items: [1, 2] })
    const again = await untyped(observedStore({}, store.data), nothing(List('l')))
    expect(again.state).toEqual({ last: 2 })
  })

  test('is one step of evolve, which decodes as well', () => {
    const state = BankAccount.evolve(BankAccount.initial(), {
      ...Deposited({ amount: 5 }),
      id: crypto.randomUUID(),
      stream: 'BankAccount-a',
      revision: 0,
      metadata: {},
      version: 1,
    })
    expect(state).toEqual({ balance: 5, open: false })
    expect(BankAccount.category).toBe('BankAccount')
  })
})

describe('an unknown event', () => {
  test('in the stream fails every command on it', async () => {
    const store = observedStore()
    await store.append({
      stream: 'BankAccount-a',
      events: [Opened({ owner: 'A' }), { type: 'Other.Thing', data: {} }],
    })
    for (const reads of [BankAccount('a'), { a: BankAccount('a') }]) {
      const error = await untyped(store, nothing(reads)).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(UnknownEventError)
      expect(error).toMatchObject({
        code: 'UNKNOWN_EVENT',
        stream: 'BankAccount-a',
        type: 'Other.Thing',
        version: 1,
      })
      expect((error as Error).message).toContain(
        'the aggregate knows BankAccount.Opened, BankAccount.Deposited',
      )
    }
  })

  test('of a newer version fails every command on it, and says so', async () => {
    const store = observedStore()
    await store.append({
      stream: 'BankAccount-a',
      events: [{ type: Opened.type, data: { owner: 'A' }, version: 2 }],
    })
    const failed = untyped(store, nothing(BankAccount('a')))
    await expect(failed).rejects.toMatchObject({ code: 'UNKNOWN_EVENT', type: Opened.type, version: 2 })
    await expect(failed).rejects.toThrow('this program knows it up to version 1')
  })

  test('is never stored by a command', async () => {
    const store = observedStore()
    const other = defineAggregate({
      name: 'Other',
      events: { Thing: event() },
      initial: () => ({}),
      apply: { Thing: (s) => s },
    })
    for (const wrong of [
      other.events.Thing(),
      { type: 'BankAccount.Opend', data: {} },
      { ...Opened({ owner: 'A' }), version: 2 },
    ]) {
      const one = { reads: BankAccount('a'), handle: () => wrong }
      await expect(untyped(store, one)).rejects.toThrow(UnknownEventError)
      const several = {
        reads: { a: BankAccount('a') },
        handle: () => ({ stream: 'BankAccount-a', events: [wrong] }),
      }
      await expect(untyped(store, several)).rejects.toThrow(UnknownEventError)
    }
    expect(store.data.log).toEqual([])
  })

  test('of one fold of a stream is refused though another knows it', async () => {
    const Narrow = defineAggregate({
      name: 'Narrow',
      events: { Opened },
      initial: () => ({ opened: 0 }),
      apply: { Opened: ({ opened }) => ({ opened: opened + 1 }) },
    })
    const narrow = { ...Narrow('x'), stream: 'BankAccount-a' }
    const store = observedStore()
    const both = (events: unknown[]) => ({
      reads: { narrow, account: BankAccount('a') },
      handle: () => ({ stream: 'BankAccount-a', events }),
    })
    expect((await untyped(store, both([Opened({ owner: 'A' })]))).state).toEqual({
      narrow: { opened: 1 },
      account: { balance: 0, open: true },
    })
    await expect(untyped(store, both([Deposited({ amount: 1 })]))).rejects.toThrow(UnknownEventError)
  })
})

describe('a stream whose beginning is gone', () => {
  test('is never folded to a wrong state', async () => {
    const store = observedStore({ cachedStates: 0 })
    for (const account of ['a', 'b']) {
      await execute(store, open(account))
      await execute(store, deposit({ account, amount: 5 }))
      await execute(store, deposit({ account, amount: 5 }))
    }
    store.page = (events) => events.filter(({ revision }) => revision >= 2)
    for (const command of [
      deposit({ account: 'a', amount: 1 }),
      transfer({ from: 'a', to: 'b', amount: 1 }),
    ]) {
      const error = await untyped(store, command).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(StreamTruncatedError)
      expect(error).toMatchObject({ code: 'STREAM_TRUNCATED', firstRevision: 2 })
    }
    expect(store.data.log).toHaveLength(6)
  })

  test('with a gap in it is not folded either', async () => {
    const store = observedStore({ cachedStates: 0 })
    await store.append({
      stream: 'BankAccount-a',
      events: [Opened({ owner: 'A' }), ...times(4, () => Deposited({ amount: 1 }))],
    })
    store.page = (events) => events.filter(({ revision }) => revision !== 2)
    const error = await untyped(store, nothing(BankAccount('a'))).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'STORE_FAILED' })
    expect(String(error)).toContain('lacks revision 2')
  })

  test('is folded as long as the state is at hand', async () => {
    const store = observedStore()
    await execute(store, open('a'))
    await execute(store, deposit({ account: 'a', amount: 5 }))
    store.page = (events) => events.filter(({ revision }) => revision >= 1)
    await store.stranger.append({ stream: BankAccount('a'), events: [Deposited({ amount: 1 })] })
    expect((await execute(store, deposit({ account: 'a', amount: 1 }))).state.balance).toBe(7)
  })
})

describe('a long stream', () => {
  test('is folded over many pages', async () => {
    const store = observedStore()
    await store.append({
      stream: BankAccount('a'),
      events: [Opened({ owner: 'A' }), ...times(1_500, () => Deposited({ amount: 1 }))],
    })
    expect((await execute(store, deposit({ account: 'a', amount: 1 }))).state.balance).toBe(1_501)
    await store.stranger.append({
      stream: BankAccount('a'),
      events: times(1_500, () => Deposited({ amount: 1 })),
    })
    expect((await execute(store, deposit({ account: 'a', amount: 1 }))).state.balance).toBe(3_002)
  })
})

describe('an apply that forgets to return', () => {
  test('is an error, and its event is not stored', async () => {
    const store = observedStore()
    const Forgetful = defineAggregate({
      name: 'Forgetful',
      events: { Hit: event() },
      initial: () => ({ hits: 0 }),
      apply: { Hit: (() => undefined) as never },
    })
    const hit = { reads: Forgetful('f'), handle: () => Forgetful.events.Hit() }
    await expect(execute(store, hit)).rejects.toThrow(FoldError)
    expect(await eventsOf(store, 'Forgetful-f')).toEqual([])
  })
})

test('reads that is a promise is refused', async () => {
  const command = { reads: Promise.resolve(fragile), handle: () => [] }
  await expect(untyped(observedStore(), command)).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    argument: 'reads',
  })
})

test('a state that is brought up to date while its stream is truncated is not folded over the gap', async () => {
  let atFirst: (() => unknown) | undefined
  const Counter = defineAggregate({
    name: 'Counter',
    events: { Counted: event() },
    initial: () => ({ count: 0 }),
    apply: {
      Counted: ({ count }) => {
        atFirst?.()
        return { count: count + 1 }
      },
    },
  })
  const counted = (length: number) => Array.from({ length }, () => Counter.events.Counted())
  const store = memoryStore()
  await store.append({ stream: Counter('a'), events: counted(10) })
  await load(store, Counter('a'))
  await store.append({ stream: Counter('a'), events: counted(900) })
  // As another process may do between two pages.
  atFirst = () => {
    atFirst = undefined
    void store.truncate(Counter('a'), { before: 900 })
  }
  await expect(load(store, Counter('a'))).rejects.toMatchObject({ code: 'STREAM_TRUNCATED' })
})
