import { defineEvents, event, StoreUnavailableError } from 'mneme'
import type { PostgresTransaction } from 'mneme/postgres'
import {
  defineProjection,
  runProjections,
  type Failure,
  type Projection,
  type ProjectionTarget,
} from 'mneme/projections'
import { describe, expect, test } from 'vitest'

import { PageSize } from '../../src/projections/page-size.ts'
import { fastClock, onClock } from './clocks.ts'
import { faultyTarget } from './faulty-target.ts'
import { Account, add, deposit, folded, gate, makeBalances, patiently, places, sql, sumsOf } from './rig.ts'

interface Deposited {
  readonly position: string
  readonly stream: string
  readonly revision: number
  readonly data: { readonly amount: number }
}

/** The same read model as `balances` of the rig, from pages of deposits. */
function balancesByPages(
  target: ProjectionTarget<unknown>,
  options: {
    readonly pageSize?: number
    readonly onError?: 'block' | 'park'
    readonly maxRetries?: number
    readonly handlerTimeout?: number
    /** Called before each page is handled. */
    readonly before?: (events: readonly Deposited[]) => unknown
  } = {},
): Projection {
  const { before, maxRetries = 5, ...settings } = options
  const projection = defineProjection({
    ...{ name: 'balances', into: target, tables: ['balances'], ...settings },
    from: [{ Deposited: Account.events.Deposited }],
    retry: { maxRetries, baseDelay: 5, minDelay: 1 },
    setup: (tx, { tables }) => makeBalances(tx, tables.balances),
    onPage: (events, tx, { tables }) => {
      const waiting = before?.(events)
      const writes = sumsOf(events).map((sum) => () => add(tx, tables.balances, sum.account, sum.balance))
      if ((tx as Partial<PostgresTransaction>).query) {
        return (async () => {
          await waiting
          for (const write of writes) await write()
        })()
      }
      for (const write of writes) write()
      return waiting
    },
  })
  return onClock(fastClock, projection)
}

describe.each(places)('a projection that handles pages, with $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('a page holds events in the order of the store, each once: behind, live, after a restart, and in a rebuild', async () => {
      const { store, target, ...place } = await open()
      await store.append({ stream: Account('a0'), events: [Account.events.Opened({ owner: 'Ann' })] })
      await deposit(store, 1_300)
      const pages: (readonly string[])[] = []
      const before = (events: readonly Deposited[]) => pages.push(events.map(({ position }) => position))
      const projection = balancesByPages(target, { before, pageSize: 200 })
      const running = await runProjections(store, [projection])
      await running.caughtUp()
      expect(await place.balances()).toEqual(await folded(store))
      for (let i = 0; i < 3; i++) {
        const events = [Account.events.Deposited({ amount: 1 })]
        const { position } = await store.append({ stream: Account('b'), events })
        await projection.caughtUpTo(position, patiently)
        expect(pages.at(-1)).toEqual([position])
      }
      await running.stop()
      await deposit(store, 10)
      const again = await runProjections(store, [projection])
      await again.caughtUp()
      expect(await projection.status(store)).toMatchObject({ state: 'running', handled: 1_313 })
      await again.stop()
      const positions: string[] = []
      for await (const { position } of store.readAll({ types: [Account.events.Deposited] }))
        positions.push(position)
      expect(pages.flat()).toEqual(positions)
      expect(Math.max(...pages.map(({ length }) => length))).toBeLessThanOrEqual(200)

      pages.length = 0
      await projection.rebuild(store)
      expect(pages.flat()).toEqual(positions)
      expect(await place.balances()).toEqual(await folded(store))
    })

    test('each event counts once if the transaction of a page fails before it begins, at any of its steps, or around its commit', async () => {
      const { store, target, ...place } = await open()
      const first = await runProjections(store, [balancesByPages(target)])
      await first.stop()
      // Each fault is one step later in its transaction than the one before.
      let [passed, next, faults] = [0, 4, 0]
      const pass = () => {
        if (passed++ < next) return
        passed = 0
        next++
        faults++
        throw new StoreUnavailableError('a fault of this test')
      }
      const faulty = faultyTarget(target, { before: pass, step: pass, commit: pass, after: pass })
      const projection = balancesByPages(faulty)
      const running = await runProjections(store, [projection])
      for (let i = 0; faults < 14; i++) {
        await deposit(store, 3, i + 1)
        await projection.caughtUpTo(await store.logHead(), patiently)
      }
      expect(await place.balances()).toEqual(await folded(store))
      await running.stop()
    })

    test('a worker that has lost its lease before a page writes nothing of it', async () => {
      const { store, target, another, ...place } = await open()
      const other = await another()
      await deposit(store, 50)
      const [held, reached] = [gate(), gate()]
      let transactions = 0
      const slow = faultyTarget(target, {
        before: async () => {
          // The first makes the tables, the second takes the lease.
          if (++transactions !== 3) return
          reached.open()
          await held.opened
        },
      })
      const late = await runProjections(store, [balancesByPages(slow)], { lease: 300 })
      await reached.opened
      await sql(target, 'UPDATE PROJECTIONS SET lease_until = 0, owner = NULL')
      const second = balancesByPages(other.target)
      const running = await runProjections(other.store, [second])
      await running.caughtUp()
      held.open()
      await deposit(store, 50)
      await second.caughtUpTo(await store.logHead(), patiently)
      expect(await place.balances()).toEqual(await folded(store))
      expect(await second.status(store)).toMatchObject({ handled: 100 })
      await late.stop()
      await running.stop()
    })

    test('the one event that a page fails on is found by halves, parked alone, and handled later', async () => {
      const { store, target, ...place } = await open()
      await deposit(store, 300)
      await store.append({ stream: Account('a0'), events: [Account.events.Deposited({ amount: 0.5 })] })
      await deposit(store, 699)
      const [sizes, failures]: [number[], Failure[]] = [[], []]
      let isMended = false
      const before = (events: readonly Deposited[]) => {
        if (!events.some(({ data }) => data.amount === 0.5)) return
        sizes.push(events.length)
        if (!isMended) throw new RangeError('half a unit')
      }
      const projection = balancesByPages(target, { before, onError: 'park', maxRetries: 3 })
      const running = await runProjections(store, [projection], { onFailure: (one) => failures.push(one) })
      await running.caughtUp(patiently)
      await running.stop()
      const [first, ...others] = failures
      expect(first).toMatchObject({ name: 'RangeError', event: undefined, page: { last: {} } })
      const { page } = first!
      expect(page!.first.position < page!.last.position).toBe(true)
      // Then the event alone: four attempts, and that it was parked.
      expect(others.map(({ attempts, page, event }) => [attempts, page, event?.stream])).toEqual(
        [1, 2, 3, 4].map((attempt) => [attempt, undefined, 'Account-a0']),
      )
      expect(sizes.slice(-4)).toEqual([1, 1, 1, 1])
      for (const [i, size] of sizes.slice(1, -3).entries())
        expect(size).toBeLessThanOrEqual(Math.ceil(sizes[i]! / 2))
      const whole = await folded(store)
      expect(await place.balances()).toEqual({ ...whole, 'Account-a0': whole['Account-a0']! - 0.5 })
      expect(await projection.parked()).toMatchObject([
        { event: { data: { amount: 0.5 } }, failure: { attempts: 4 } },
      ])
      expect(await projection.status(store)).toMatchObject({ parked: 1, handled: 999 })

      expect(await projection.retryParked()).toEqual({ handled: 0, failed: 1 })
      isMended = true
      sizes.length = 0
      expect(await projection.retryParked()).toEqual({ handled: 1, failed: 0 })
      expect(sizes).toEqual([1])
      expect(await place.balances()).toEqual(whole)
    })

    test('a page that fails only as a whole is handled in parts, and the failure is told', async () => {
      const { store, target, ...place } = await open()
      await deposit(store, 400)
      const failures: Failure[] = []
      const before = (events: readonly Deposited[]) => {
        if (events.length > 30) throw new Error('a row occurs twice')
      }
      const projection = balancesByPages(target, { before })
      const running = await runProjections(store, [projection], { onFailure: (one) => failures.push(one) })
      await running.caughtUp(patiently)
      expect(failures.length).toBeGreaterThan(0)
      for (const failure of failures) {
        expect(failure).toMatchObject({ message: 'a row occurs twice', event: undefined })
        expect(failure.page!.events).toBeGreaterThan(30)
      }
      expect(await place.balances()).toEqual(await folded(store))
      expect(await projection.status(store)).toMatchObject({
        state: 'running',
        failure: undefined,
        handled: 400,
      })
      await running.stop()
    })

    test('an event that fails at each retry blocks its projection behind the events before it', async () => {
      const { store, target } = await open()
      await deposit(store, 20)
      let isBroken = true
      const before = (events: readonly Deposited[]) => {
        if (isBroken && events.some(({ revision }) => revision === 13)) throw new Error('unlucky')
      }
      const projection = balancesByPages(target, { before, maxRetries: 1 })
      const running = await runProjections(store, [projection])
      await expect(running.caughtUp(patiently)).rejects.toMatchObject({ code: 'PROJECTION_BLOCKED' })
      expect(await projection.status(store)).toMatchObject({
        state: 'blocked',
        failure: { message: 'unlucky', attempts: 2, event: { revision: 13 } },
        handled: 13,
      })
      isBroken = false
      expect(await projection.unblock()).toBe(true)
      await projection.caughtUpTo(await store.logHead(), patiently)
      expect(await projection.status(store)).toMatchObject({ state: 'running', handled: 20 })
      await running.stop()
    })

    test('an event of a newer version, or an upcast that throws, is parked alone out of its page', async () => {
      const { store, target } = await open()
      const Newer = defineEvents('Sample', {
        A: event<{ n: number }>().next<{ m: number }>(({ n }) => ({ m: n })),
        B: event<{ n: number }>(),
        C: event<{ n: number }>(),
      })
      const Older = defineEvents('Sample', {
        A: event<{ n: number }>(),
        B: event<{ n: number }>().next<{ m: number }>(() => {
          throw new Error('there is no way')
        }),
        C: event<{ n: number }>(),
      })
      const [a, b, c] = [Newer.A({ m: 1 }), Newer.B({ n: 1 }), Newer.C({ n: 1 })]
      await store.append({ stream: 'Sample-1', events: [c, c, a, c, b, c] })
      const types: string[] = []
      const projection = defineProjection({
        ...{ name: 'older', into: target, from: [Older], onError: 'park', retry: { maxRetries: 0 } },
        onPage: (events) => {
          types.push(...events.map(({ type }) => type))
        },
      })
      const running = await runProjections(store, [projection])
      await running.caughtUp()
      await running.stop()
      expect(types).toEqual(['Sample.C', 'Sample.C', 'Sample.C', 'Sample.C'])
      expect(await projection.parked()).toMatchObject([
        { failure: { code: 'UNKNOWN_EVENT' } },
        { failure: { code: 'FOLD_FAILED' } },
      ])
    })

    test('a wrong definition of a projection of pages is refused, with what to do', async () => {
      const { target } = await open()
      const definition = { name: 'wrong', into: target, from: [Account] }
      const onPage = () => undefined
      const on = { 'Account.Deposited': onPage }
      for (const [given, message] of [
        [{ on, onPage }, "give either 'on' or 'onPage': each event is handled once"],
        [{ on, pageSize: 10 }, "pageSize is of 'onPage', which is missing"],
        [{}, "on must be handlers by the types of events, unless there is an 'onPage'"],
        [{ onPage, pageSize: 0 }, 'pageSize must be a whole number from 1 to 1,000'],
        [{ onPage, pageSize: 1_001 }, 'pageSize must be a whole number from 1 to 1,000'],
        [{ onPage: {} }, 'onPage must be a function'],
        [{ onPage: function* () {} }, 'onPage is a generator function'],
        [{ onPage, from: [] }, 'from must be a list of aggregates'],
      ] as const) {
        expect(() => defineProjection({ ...definition, ...given } as never)).toThrow(message)
      }
    })
  })
})

describe.each(places.slice(0, 1))('a handler of pages on SQLite, with $name', ({ open }) => {
  test('a handler of pages on SQLite must be synchronous', async () => {
    const { store, target } = await open()
    await deposit(store, 3)
    const definition = { name: 'late', into: target, from: [Account] }
    expect(() => defineProjection({ ...definition, onPage: async () => undefined })).toThrow(
      'onPage must be synchronous, as everything is in SQLite',
    )
    const projection = defineProjection({ ...definition, onPage: () => Promise.resolve() })
    const running = await runProjections(store, [projection])
    await expect(running.caughtUp(patiently)).rejects.toThrow(
      '\'onPage\' in projection "late" must be synchronous, as everything is in SQLite, but it returned a promise',
    )
    expect(await projection.status(store)).toMatchObject({ state: 'blocked', handled: 0 })
    await running.stop()
  })
})

const postgres = places.at(-1)!

describe.skipIf(postgres.problem)('a handler of pages on PostgreSQL', () => {
  test('a page that does not settle in time is handled in parts', async () => {
    const { store, target, ...place } = await postgres.open()
    await deposit(store, 40)
    const failures: Failure[] = []
    const before = (events: readonly Deposited[]) =>
      events.length > 10 ? new Promise(() => undefined) : undefined
    const projection = balancesByPages(target, { before, handlerTimeout: 100 })
    const running = await runProjections(store, [projection], { onFailure: (one) => failures.push(one) })
    await running.caughtUp(patiently)
    expect(failures[0]).toMatchObject({
      name: 'HandlerTimeoutError',
      message: expect.stringContaining("'onPage' did not settle within 100 ms") as string,
      page: { events: 40 },
    })
    expect(await place.balances()).toEqual(await folded(store))
    await running.stop()
  })
})

test('pages grow while they take little time, and shrink when they take long', () => {
  const pages = new PageSize(1_000, 20)
  const grown = [125, 250, 500, 1_000, 1_000].map((events) => {
    pages.took(events, 1)
    return pages.events
  })
  expect(grown).toEqual([250, 500, 1_000, 1_000, 1_000])
  pages.took(3, 1)
  expect(pages.events).toBe(1_000)
  for (const size of [500, 250, 125]) {
    pages.took(pages.events, 21)
    expect(pages.events).toBe(size)
  }
  pages.took(125, 15)
  expect(pages.events).toBe(125)
  pages.took(1, 1_000)
  expect(pages.events).toBe(1)
  pages.took(1, 1)
  expect(pages.events).toBe(2)
  expect(new PageSize(10, 20).events).toBe(10)
})
