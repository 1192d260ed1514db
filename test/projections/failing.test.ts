import { defineEvents, event, ProjectionBlockedError } from 'mneme'
import { defineProjection, runProjections, type Failure } from 'mneme/projections'
import { postgresTarget } from 'mneme/postgres'
import type { SqliteDatabase, SqliteStatement } from 'mneme/sqlite'
import pg from 'pg'
import { describe, expect, onTestFinished, test } from 'vitest'

import type { ProjectionTarget } from '../../src/adapter/projection-target.ts'
import { fastClock, onClock } from './clocks.ts'
import { startProxy } from '../support/proxy.ts'
import {
  Account,
  add,
  balances,
  balancesIn,
  deposit,
  folded,
  gate,
  patiently,
  places,
  run,
  sql,
  until,
} from './rig.ts'

describe.each(places)('a failed handler, with $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('a handler that fails at its first call for each event is retried, and each event counts once', async () => {
      const { store, target, ...place } = await open()
      await deposit(store, 40)
      const failed = new Set<number>()
      const failures: Failure[] = []
      const before = ({ revision }: { revision: number }) => {
        if (revision >= 12 || failed.has(revision)) return
        failed.add(revision)
        throw new Error('not yet')
      }
      const projection = balances(target, { before })
      const running = await runProjections(store, [projection], { onFailure: (one) => failures.push(one) })
      await running.caughtUp()
      expect(await place.balances()).toEqual(await folded(store))
      expect(await projection.status(store)).toMatchObject({
        state: 'running',
        failure: undefined,
        handled: 40,
      })
      await running.stop()
    })

    test('an error that cannot be read blocks as any other', async () => {
      const { store, target } = await open()
      await deposit(store, 1)
      const before = () => {
        const unreadable = {
          get message() {
            throw new Error('unreadable')
          },
        }

        throw unreadable
      }
      const projection = balances(target, { before, maxRetries: 0 })
      await using running = await runProjections(store, [projection])
      await expect(running.caughtUp(patiently)).rejects.toMatchObject({ code: 'PROJECTION_BLOCKED' })
    })

    test('a handler that fails on one event of 1,000 does not delay the others, and the event can be parked and retried', async () => {
      const { store, target, ...place } = await open()
      await deposit(store, 300)
      await store.append({ stream: Account('a0'), events: [Account.events.Deposited({ amount: 0.5 })] })
      await deposit(store, 699)
      let isMended = false
      let calls = 0
      const before = ({ data }: { data: unknown }, tx: unknown) => {
        calls++
        if (isMended || (data as { amount: number }).amount !== 0.5) return
        const written = run(tx, "INSERT INTO balances (account, balance) VALUES ('half', 1)")
        const fail = () => {
          throw new RangeError('half a unit', { cause: new Error('the cause of it') })
        }
        return written instanceof Promise ? written.then(fail) : fail()
      }
      const projection = balances(target, { before, onError: 'park', maxRetries: 3 })
      const failures: Failure[] = []
      const running = await runProjections(store, [projection], {
        onFailure: (failure) => failures.push(failure),
      })
      await running.caughtUp(patiently)
      expect(calls).toBeLessThan(2_000)
      const stack = expect.stringMatching(/^RangeError: half a unit\n/) as string
      expect(failures.at(-1)).toMatchObject({ stack, attempts: 4 })
      expect(failures.at(-1)?.error).toBeInstanceOf(RangeError)
      const whole = await folded(store)
      expect(await place.balances()).toEqual({ ...whole, 'Account-a0': whole['Account-a0']! - 0.5 })
      expect(await projection.parked()).toMatchObject([
        {
          event: { type: 'Account.Deposited', stream: 'Account-a0', data: { amount: 0.5 } },
          failure: {
            name: 'RangeError',
            message: 'half a unit',
            stack,
            attempts: 4,
            event: { type: 'Account.Deposited' },
          },
        },
      ])
      expect(await projection.status(store)).toMatchObject({ state: 'running', parked: 1, handled: 999 })

      expect(await projection.retryParked()).toEqual({ handled: 0, failed: 1 })
      expect(await projection.parked()).toMatchObject([{ failure: { attempts: 5 } }])
      isMended = true
      const both = await Promise.all([projection.retryParked(), projection.retryParked()])
      expect(both.map(({ handled }) => handled).sort()).toEqual([0, 1])
      expect(await projection.parked()).toEqual([])
      expect(await projection.status(store)).toMatchObject({ parked: 0, handled: 1_000 })
      expect((await place.balances())!['Account-a0']).toBe(whole['Account-a0'])
      await running.stop()
    })

    test('a handler that fails at each retry blocks its projection until it is unblocked; other projections go on', async () => {
      const { store, target, ...place } = await open()
      let isBroken = true
      const before = () => {
        // A thrown value that is not an error.
        if (isBroken) throw 'broken'
      }
      const broken = balances(target, { before, maxRetries: 2 })
      const other = counting(target)
      const failures: string[] = []
      const running = await runProjections(store, [broken, other], {
        onFailure: ({ message }, { name }) => {
          failures.push(`${name}: ${message}`)
          throw new Error('a listener that fails itself')
        },
      })
      await deposit(store, 5)
      const head = await store.logHead()
      await other.caughtUpTo(head, patiently)
      await expect(broken.caughtUpTo(head, patiently)).rejects.toThrow(ProjectionBlockedError)
      await expect(broken.caughtUpTo(head, patiently)).rejects.toThrow(
        'projection "balances" is blocked: broken',
      )
      expect(failures).toEqual(Array.from({ length: 3 }, () => 'balances: broken'))
      expect(await running.status()).toMatchObject([
        {
          state: 'blocked',
          lag: { events: 5 },
          failure: { name: 'string', message: 'broken', attempts: 3, event: { revision: 0 } },
        },
        { state: 'running', lag: { events: 0 } },
      ])
      isBroken = false
      expect(await broken.unblock()).toBe(true)
      expect(await broken.unblock()).toBe(false)
      await broken.caughtUpTo(head, patiently)
      expect(await place.balances()).toEqual(await folded(store))
      await running.stop()
    })

    test('each process that finds a projection blocked by another one is told why, once', async () => {
      const { store, target } = await open()
      let isBroken = true
      const before = () => {
        if (isBroken) throw new Error('broken')
      }
      await deposit(store, 1)
      const told: Record<string, string[]> = { first: [], second: [], third: [] }
      const looks: Record<string, number> = { first: 0, second: 0, third: 0 }
      const begin = (name: string) => {
        const clock: typeof fastClock = {
          now: () => fastClock.now(),
          after: (milliseconds, callback) => {
            looks[name]!++
            return fastClock.after(milliseconds, callback)
          },
        }
        return runProjections(store, [balances(target, { before, maxRetries: 0, clock })], {
          onFailure: ({ message, event }) => told[name]!.push(`${message} ${event?.stream}`),
        })
      }
      const first = await begin('first')
      await expect(first.caughtUp()).rejects.toThrow(ProjectionBlockedError)
      const second = await begin('second')
      await until(() => told.second!.length > 0, 'the second is told')
      await first.stop()
      const third = await begin('third')
      await until(() => told.third!.length > 0, 'the third is told')
      const seen = { ...looks }
      await until(() => looks.second! > seen.second! + 2 && looks.third! > seen.third! + 2, 'they look again')
      const once = ['broken Account-a0']
      expect(told).toEqual({ first: once, second: once, third: once })
      expect(await balances(target).unblock()).toBe(true)
      await until(() => told.second!.length === 2 && told.third!.length === 2, 'it is blocked anew')
      isBroken = false
      await balances(target).unblock()
      await third.caughtUp()
      await Promise.all([second.stop(), third.stop()])
    })

    test('the status of a projection is retrying while its handler is retried, and stopped after stop()', async () => {
      const { store, target } = await open()
      const projection = balances(target, {
        before: () => {
          throw new Error('always')
        },
        maxRetries: 1_000,
      })
      const running = await runProjections(store, [projection])
      await deposit(store, 1)
      await until(async () => (await projection.status(store)).state === 'retrying', 'it is tried again')
      expect(await projection.status(store)).toMatchObject({ failure: { message: 'always' }, handled: 0 })
      await running.stop()
      expect(await projection.status(store)).toMatchObject({
        state: 'stopped',
        failure: { message: 'always' },
      })
    })

    test('a handler that ends the transaction blocks its projection without a retry', async () => {
      const { store, target } = await open()
      const endings = ['COMMIT', 'ROLLBACK', 'COMMIT, BEGIN', 'ROLLBACK, BEGIN']
      for (const ending of endings) {
        const name = `with_${ending.toLowerCase().replace(', ', '_')}`
        let calls = 0
        const before = (_: unknown, tx: unknown) => {
          calls++
          const [end, begin] = ending.split(', ')
          const ended = run(tx, end!)
          if (begin === undefined) return ended
          return ended instanceof Promise ? ended.then(() => run(tx, begin)) : run(tx, begin)
        }
        await deposit(store, 1)
        const projection = balances(target, { name, table: name, before, onError: 'park' })
        const running = await runProjections(store, [projection])
        await until(async () => (await projection.status(store)).state === 'blocked', 'it is blocked')
        expect(await projection.status(store)).toMatchObject({
          failure: { code: 'INVALID_ARGUMENT', message: expect.stringContaining('transaction') as unknown },
          handled: 0,
        })
        // Of a batch, then of its first event alone; never five times again.
        expect(calls).toBeLessThan(6)
        await running.stop()
      }
    })

    test('a generator is refused as a handler, setup or reset, and blocks its projection if one is returned', async () => {
      const { store, target } = await open()
      const generators = [function* () {}, async function* () {}]
      const definition = {
        name: 'never',
        into: target,
        from: [Account],
        on: { 'Account.Deposited': () => 1 },
      }
      for (const never of generators) {
        for (const [argument, given] of [
          ["on['Account.Deposited']", { on: { 'Account.Deposited': never } }],
          ['setup', { setup: never }],
          ['reset', { reset: never }],
        ] as const) {
          expect(() => defineProjection({ ...definition, ...given })).toThrow(
            `${argument} is a generator function (function*), of which a call runs nothing`,
          )
        }
      }
      await deposit(store, 1)
      for (const [i, never] of generators.entries()) {
        const projection = defineProjection({
          ...definition,
          name: `never_${i}`,
          on: { 'Account.Deposited': () => never() },
        })
        const running = await runProjections(store, [projection])
        await expect(running.caughtUp()).rejects.toThrow('but it returned a generator, of which nothing runs')
        expect(await projection.status(store)).toMatchObject({ state: 'blocked', handled: 0 })
        await running.stop()
        const setup = defineProjection({ ...definition, name: `setup_${i}`, setup: () => never() })
        await expect(runProjections(store, [setup])).rejects.toThrow("'setup' of projection 'setup_")
      }
    })

    test('an event of a newer version, or an upcast that throws, is parked alone', async () => {
      const { store, target } = await open()
      const Newer = defineEvents('Sample', {
        A: event<{ n: number }>().next<{ m: number }>(({ n }) => ({ m: n })),
        B: event<{ n: number }>(),
      })
      const Older = defineEvents('Sample', {
        A: event<{ n: number }>(),
        B: event<{ n: number }>().next<{ m: number }>(() => {
          throw new Error('there is no way')
        }),
      })
      await store.append({ stream: 'Sample-1', events: [Newer.A({ m: 1 }), Newer.B({ n: 1 })] })
      const projection = defineProjection({
        ...{ name: 'older', into: target, from: [Older], onError: 'park', retry: { maxRetries: 0 } },
        on: { 'Sample.A': () => undefined, 'Sample.B': () => undefined },
      })
      const running = await runProjections(store, [projection])
      await running.caughtUp()
      expect(await projection.parked()).toMatchObject([
        { failure: { code: 'UNKNOWN_EVENT' } },
        { failure: { code: 'FOLD_FAILED' } },
      ])
      await running.stop()
      const newer = defineProjection({
        ...{ name: 'older', into: target, from: [Newer] },
        on: { 'Sample.A': () => undefined, 'Sample.B': () => undefined },
      })
      expect(await newer.retryParked()).toEqual({ handled: 2, failed: 0 })
    })

    test('what a handler does after it has returned is refused, and counts nothing', async () => {
      const { store, target, ...place } = await open()
      await deposit(store, 3)
      const { opened, open: goOn } = gate()
      const late: unknown[] = []
      const before = (_: unknown, tx: unknown) => {
        void opened
          .then(() => add(tx, 'balances', 'late', 1) as Promise<unknown> | undefined)
          .catch((error: unknown) => {
            late.push(error)
          })
      }
      const running = await runProjections(store, [balances(target, { before })])
      await running.caughtUp()
      goOn()
      await until(() => late.length === 3, 'they were refused')
      expect(String(late[0])).toContain('used its connection after it had returned')
      expect(await place.balances()).toEqual(await folded(store))
      await running.stop()
    })

    test('runProjections throws what setup throws, and leaves nothing behind', async () => {
      const { store, target } = await open()
      const projection = balances(target, {
        setup: () => {
          throw new Error('no tables today')
        },
      })
      await expect(runProjections(store, [projection])).rejects.toThrow('no tables today')
      expect(await projection.status(store)).toMatchObject({ version: undefined, state: 'stopped' })
      const running = await runProjections(store, [balances(target)])
      await running.stop()
    })

    test('an event that violates a deferred constraint at the commit is parked alone', async () => {
      const { store, target, ...place } = await open()
      const before = ({ revision }: { revision: number }, tx: unknown) =>
        revision === 3 ? run(tx, 'INSERT INTO children (parent) VALUES (1)') : undefined
      const projection = balances(target, {
        before,
        onError: 'park',
        maxRetries: 1,
        setup: (tx, table) => {
          const done = run(tx, 'CREATE TABLE parents (id INTEGER PRIMARY KEY)')
          const children =
            'CREATE TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)'
          const accounts = `CREATE TABLE ${table} (account TEXT PRIMARY KEY, balance BIGINT NOT NULL)`
          return done instanceof Promise
            ? done.then(() => run(tx, children)).then(() => run(tx, accounts))
            : [run(tx, children), run(tx, accounts)]
        },
      })
      await deposit(store, 20)
      const running = await runProjections(store, [projection])
      await running.caughtUp()
      expect(await projection.parked()).toMatchObject([{ event: { revision: 3 } }])
      expect(await place.balances()).toEqual({ 'Account-a0': 19 })
      expect(await projection.retryParked()).toEqual({ handled: 0, failed: 1 })
      await running.stop()
    })

    test('a projection goes on once the tables of Mneme that were missing are back', async () => {
      const { store, target } = await open()
      const projection = balances(target)
      const codes = new Set<string | undefined>()
      const running = await runProjections(store, [projection], { onFailure: ({ code }) => codes.add(code) })
      await running.caughtUp()
      await sql(target, 'ALTER TABLE PROJECTIONS RENAME TO elsewhere')
      await deposit(store, 1)
      await until(() => codes.has('STORE_FAILED'), 'it is told')
      const back =
        target.dialect === 'postgres'
          ? 'mneme.elsewhere RENAME TO projections'
          : 'elsewhere RENAME TO mneme_projections'
      await sql(target, `ALTER TABLE ${back}`)
      await projection.caughtUpTo(await store.logHead(), patiently)
      await running.stop()
    })
  })
})

describe.each(places.slice(0, 3))('a handler on SQLite, with $name', ({ open }) => {
  test('a handler on SQLite can keep a statement, and use transactions of the driver', async () => {
    const { store, target, ...place } = await open()
    await deposit(store, 3)
    let kept: SqliteStatement | undefined
    let seen = 0
    const before = (_: unknown, tx: unknown) => {
      const db = tx as SqliteDatabase & { transaction?(work: () => void): () => void }
      kept ??= db.prepare(
        "INSERT INTO balances VALUES ('b', 1) ON CONFLICT DO UPDATE SET balance = balance + 1",
      )
      const write = () => kept!.run()
      if (db.transaction) db.transaction(write)()
      else write()
      seen += db.prepare('SELECT balance FROM balances').all().length
    }
    const running = await runProjections(store, [balances(target, { before })])
    await running.caughtUp()
    expect(await place.balances()).toEqual({ ...(await folded(store)), b: 3 })
    expect(seen).toBe(1 + 2 + 2)
    expect(() => kept!.run()).toThrow('used its connection after it had returned')
    await running.stop()
  })

  test('a handler on SQLite must be synchronous', async () => {
    const { store, target, ...place } = await open()
    await deposit(store, 3)
    const { opened, open: goOn } = gate()
    const projection = balances(target, { before: () => opened })
    const running = await runProjections(store, [projection])
    await until(async () => (await projection.status(store)).state === 'blocked', 'it is blocked')
    expect(await projection.status(store)).toMatchObject({
      failure: {
        code: 'INVALID_ARGUMENT',
        message:
          'the handler of \'Account.Deposited\' in projection "balances" must be synchronous, as everything is in SQLite, ' +
          'but it returned a promise',
      },
    })
    expect(await place.balances()).toEqual({})
    // What its promise leads to comes too late.
    goOn()
    await opened
    await new Promise(setImmediate)
    expect(await place.balances()).toEqual({})
    await running.stop()
    const asynchronous = () =>
      defineProjection({
        ...{ name: 'later', into: target, from: [Account] },
        on: { 'Account.Deposited': async () => undefined },
      })
    expect(asynchronous).toThrow("on['Account.Deposited'] must be synchronous, as everything is in SQLite")
    for (const which of ['setup', 'reset'] as const) {
      const on = { 'Account.Deposited': () => undefined }
      const definition = { name: 'later', into: target, from: [Account], on, [which]: async () => undefined }
      expect(() => defineProjection(definition)).toThrow(`${which} must be synchronous`)
    }
  })
})

const postgres = places.at(-1)!

describe.skipIf(postgres.problem)('a handler on PostgreSQL', () => {
  test('an event whose handler ignores an error of the server is parked alone', async () => {
    const { store, target, ...place } = await postgres.open()
    await deposit(store, 20)
    const before = ({ revision }: { revision: number }, tx: unknown) =>
      revision === 7 ? (run(tx, 'SELECT 1 / 0') as Promise<unknown>).catch(() => undefined) : undefined
    const projection = balances(target, { before, onError: 'park', maxRetries: 1 })
    const running = await runProjections(store, [projection])
    await running.caughtUp()
    expect(await projection.parked()).toMatchObject([{ event: { revision: 7 } }])
    expect(await place.balances()).toEqual({ 'Account-a0': 19 })
    await running.stop()
  })

  test('a batch that could not begin is not counted as a failure of its handler', async () => {
    const { store, url, ...place } = await postgres.open()
    const target = postgresTarget({ connectionString: url!, statement_timeout: 200 })
    const holder = new pg.Client({ connectionString: url })
    await holder.connect()
    onTestFinished(async () => {
      await holder.end()
      await target.close()
    })
    const projection = balances(target, { onError: 'park', maxRetries: 3 })
    const failures: Failure[] = []
    const running = await runProjections(store, [projection], { onFailure: (one) => failures.push(one) })
    await running.caughtUp()
    // Like a reset that takes long.
    await holder.query('BEGIN; SELECT FROM mneme.projections FOR UPDATE')
    await deposit(store, 3)
    await until(() => failures.length >= 2, 'it is tried again')
    await holder.query('ROLLBACK')
    await projection.caughtUpTo(await store.logHead(), patiently)
    for (const failure of failures) expect(failure).toMatchObject({ code: 'STORE_TIMEOUT', event: undefined })
    expect(await projection.parked()).toEqual([])
    expect(await place.balances()).toEqual(await folded(store))
    await running.stop()
  })

  test('a handler that is idle for longer than the lease loses its transaction, and is retried', async () => {
    const { store, target, ...place } = await postgres.open()
    let isFirst = true
    const before = async () => {
      if (!isFirst) return
      isFirst = false
      await new Promise((resolve) => setTimeout(resolve, 400))
    }
    const projection = balances(target, { before, handlerTimeout: 10_000 })
    const codes: unknown[] = []
    const running = await runProjections(store, [projection], {
      lease: 100,
      onFailure: ({ code }) => codes.push(code),
    })
    await deposit(store, 3)
    await projection.caughtUpTo(await store.logHead(), patiently)
    expect(codes).toContain('STORE_UNAVAILABLE')
    expect(await place.balances()).toEqual(await folded(store))
    await running.stop()
  })

  test('a handler that never settles fails after the lease, and blocks its projection when its retries have failed', async () => {
    const { store, target, another } = await postgres.open()
    const failures: Failure[] = []
    let calls = 0
    const callsAtFailure: number[] = []
    const before = ({ revision }: { revision: number }) => {
      if (revision !== 3) return undefined
      calls++
      return new Promise(() => undefined)
    }
    const projection = balances(target, { before, maxRetries: 1 })
    await deposit(store, 5)
    const running = await runProjections(store, [projection], {
      lease: 200,
      onFailure: (one) => {
        failures.push(one)
        callsAtFailure.push(calls)
      },
    })
    await until(() => failures.length > 0, 'it is told of the first time-out')
    expect(callsAtFailure[0]).toBe(1)
    await until(async () => (await projection.status(store)).state === 'blocked', 'it is blocked')
    expect(await projection.status(store)).toMatchObject({
      handled: 3,
      failure: { name: 'HandlerTimeoutError', event: { revision: 3 } },
    })
    for (const { message } of failures) {
      expect(message).toBe(
        "the handler of 'Account.Deposited' did not settle within 200 ms: give its work a time-out of its own, or set " +
          "'handlerTimeout' of the projection",
      )
    }
    await running.stop()
    await target.close()
    const other = await another()
    const mended = balances(other.target)
    await mended.unblock()
    const again = await runProjections(other.store, [mended])
    await again.caughtUp()
    await again.stop()
    expect(await balancesIn(other.target)).toEqual(await folded(other.store))
  })

  test('stop() and close() end while a handler never settles, and its later writes do not count', async () => {
    const { store, target, another } = await postgres.open()
    const other = await another()
    const [held, reached] = [gate(), gate()]
    let late: unknown
    const before = async (_: unknown, tx: unknown) => {
      reached.open()
      await held.opened
      await (run(tx, "INSERT INTO balances (account, balance) VALUES ('late', 1)") as Promise<unknown>).catch(
        (error: unknown) => (late = error),
      )
    }
    await deposit(store, 5)
    const running = await runProjections(store, [balances(target, { before })], { lease: 200 })
    await reached.opened
    await running.stop()
    await target.close()
    held.open()
    const again = await runProjections(other.store, [balances(other.target)])
    await again.caughtUp()
    await until(() => late !== undefined, 'the late write was refused')
    expect(await balancesIn(other.target)).toEqual(await folded(store))
    await again.stop()
  })

  test('an event whose handler never settles is parked, and retryParked() rejects it again', async () => {
    const { store, target } = await postgres.open()
    const before = ({ revision }: { revision: number }) =>
      revision === 0 ? new Promise(() => undefined) : undefined
    const projection = balances(target, { before, onError: 'park', maxRetries: 0, handlerTimeout: 150 })
    await deposit(store, 3)
    const running = await runProjections(store, [projection])
    await running.caughtUp()
    expect(await projection.parked()).toMatchObject([{ failure: { name: 'HandlerTimeoutError' } }])
    expect(await projection.retryParked()).toEqual({ handled: 0, failed: 1 })
    await running.stop()
  })

  test('setup that never settles is what runProjections throws', async () => {
    const { store, target } = await postgres.open()
    const projection = balances(target, { setup: () => new Promise(() => undefined), handlerTimeout: 150 })
    await expect(runProjections(store, [projection])).rejects.toThrow(
      "'setup' of projection 'balances' did not settle within 150 ms",
    )
  })

  test('a projection goes on when its connection swallows everything for a while', async () => {
    const { store, url } = await postgres.open()
    const proxy = await startProxy(Number(new URL(url!).port))
    const target = postgresTarget(proxy.url(url!), { statementTimeout: 1_500, connectTimeout: 1_500 })
    onTestFinished(() => target.close())
    const projection = balances(target)
    const running = await runProjections(store, [projection], { lease: 300 })
    await deposit(store, 3)
    await running.caughtUp()
    proxy.mute()
    await deposit(store, 3)
    await projection.caughtUpTo(await store.logHead(), patiently)
    await running.stop()
  })
})

/** Counts every event. */
function counting(target: ProjectionTarget<unknown>) {
  const projection = defineProjection({
    ...{ name: 'counts', into: target, from: [Account] },
    setup: (tx) => run(tx, 'CREATE TABLE counts (n BIGINT)'),
    on: { 'Account.Deposited': (_, tx) => run(tx, 'INSERT INTO counts VALUES (1)') },
  })
  return onClock(fastClock, projection)
}
