import { ProjectionBlockedError, ProjectionVersionError, UnsupportedError } from 'mneme'
import { defineProjection, runProjections } from 'mneme/projections'
import { describe, expect, test } from 'vitest'

import type { ProjectionTarget } from '../../src/adapter/projection-target.ts'
import { fastClock, onClock } from './clocks.ts'
import { faultyTarget } from './faulty-target.ts'
import {
  Account,
  add,
  balances,
  deposit,
  folded,
  gate,
  makeBalances,
  patiently,
  places,
  run,
  sql,
  until,
} from './rig.ts'

describe.each(places)('a rebuild, with $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('a rebuild ends while events are appended, and readers always see a complete read model', async () => {
      const { store, target, ...place } = await open()
      await deposit(store, 600)
      const first = balances(target)
      const running = await runProjections(store, [first])
      await running.caughtUp()
      let isOver = false
      const writing = (async () => {
        // More and more slowly, so that a rebuild on a busy machine catches up, too.
        for (let pause = 2; !isOver; pause *= 1.05) {
          await deposit(store, 2)
          // An event that it does not handle.
          await store.append({ stream: Account('a0'), events: [Account.events.Opened({ owner: 'o' })] })
          await new Promise((resolve) => setTimeout(resolve, pause))
        }
      })()
      const seen: (Record<string, number> | undefined)[] = []
      const reading = (async () => {
        while (!isOver) {
          seen.push(await place.balances())
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      })()
      await balances(target, { version: 2, factor: 10 }).rebuild(store)
      isOver = true
      await Promise.all([writing, reading])
      expect(seen).not.toContain(undefined)
      expect(seen.every((totals) => (totals?.['Account-a0'] ?? 0) >= 300)).toBe(true)
      await running.stop()
      const second = await runProjections(store, [balances(target, { version: 2, factor: 10 })])
      await second.caughtUp()
      expect(await place.balances()).toEqual(await folded(store, 10))
      await second.stop()
    })

    test('a rebuild replaces a live read model that is ahead whenever it looks', async () => {
      const { store, target, another } = await open()
      const other = await another()
      await deposit(store, 20)
      const running = await runProjections(store, [balances(target)])
      await running.caughtUp()
      const live = async () => {
        const [row] = await sql(
          target,
          "SELECT owner, position, version FROM PROJECTIONS WHERE role = 'live'",
        )
        return row as { owner: string | null; position: string; version: unknown }
      }
      const { owner } = await live()
      let transactions = 0
      // Before each transaction of the rebuild, the live one handles another event, as long as it works.
      const before = async () => {
        if (++transactions > 60) throw new Error('it chases the live one')
        await deposit(store, 1)
        const head = (await store.logHead())!
        await until(async () => {
          const now = await live()
          return now.owner !== owner || now.position >= head
        }, 'the live one is ahead, or rests')
      }
      const next = balances(faultyTarget(other.target, { before }), { version: 2 })
      await next.rebuild(other.store)
      expect(Number((await live()).version)).toBe(2)
      await running.stop()
    })

    test('a rebuild ends if the projection does not handle the last events', async () => {
      const { store, target, ...place } = await open()
      await deposit(store, 5)
      const running = await runProjections(store, [balances(target)])
      await store.append({ stream: 'Other-1', events: [{ type: 'Other', data: {} }] })
      await running.caughtUp()
      await balances(target, { version: 2, factor: 2 }).rebuild(store)
      expect(await place.balances()).toEqual(await folded(store, 2))
      await running.stop()
    })

    test('an interrupted rebuild is continued by another process, and two processes may run it at once', async () => {
      const { store, target, another, ...place } = await open()
      const other = await another()
      await deposit(store, 1_500)
      const running = await runProjections(store, [balances(target)])
      await running.caughtUp()
      const stopping = new AbortController()
      const options = { version: 2, factor: 3 }
      const begun = balances(target, options).rebuild(store, {
        signal: stopping.signal,
        onProgress: () => {
          stopping.abort()
        },
      })
      await expect(begun).rejects.toThrow('aborted')
      const status = await balances(target).status(store)
      expect(status).toMatchObject({ version: 1, rebuild: { version: 2, state: 'stopped' } })
      const before = status.rebuild!.handled
      expect(before).toBeGreaterThan(0)

      const progress: number[] = []
      const onProgress = (handled: number) => progress.push(handled)
      await Promise.all([
        balances(other.target, options).rebuild(other.store, { onProgress }),
        balances(target, options).rebuild(store, { onProgress }),
      ])
      expect(Math.min(...progress)).toBeGreaterThan(before)
      expect(await place.balances()).toEqual(await folded(store, 3))
      expect(await balances(target).status(store)).toMatchObject({ version: 2, rebuild: undefined })
      await running.stop()
    })

    test('several programs of a new version may begin a rebuild at once', async () => {
      const { store, target, another, ...place } = await open()
      await deposit(store, 50)
      const old = await runProjections(store, [balances(target)])
      await old.caughtUp()
      const others = [await another(), await another(), { store, target }]
      const next = await Promise.all(
        others.map((each) =>
          runProjections(each.store, [balances(each.target, { version: 2, factor: 2 })], {
            onNewVersion: 'rebuild',
          }),
        ),
      )
      const projection = balances(target, { version: 2, factor: 2 })
      await until(async () => (await projection.status(store)).version === 2, 'it is there')
      await deposit(store, 5)
      await projection.caughtUpTo(await store.logHead(), patiently)
      expect(await place.balances()).toEqual(await folded(store, 2))
      await Promise.all([...next, old].map((each) => each.stop()))
    })

    test('a rebuild is given up for a newer version, and rejects', async () => {
      const { store, target, ...place } = await open()
      await deposit(store, 20)
      const running = await runProjections(store, [balances(target)])
      await running.caughtUp()
      const stuck = balances(target, {
        version: 2,
        before: () => {
          throw new Error('never')
        },
        maxRetries: 1_000,
      })
      const second = stuck.rebuild(store)
      const given = expect(second).rejects.toThrow(ProjectionVersionError)
      await until(async () => (await stuck.status(store)).rebuild?.state === 'retrying', 'it is tried again')
      await balances(target, { version: 3, factor: 5 }).rebuild(store)
      await given
      expect(await place.balances()).toEqual(await folded(store, 5))
      expect(await place.balances('balances__2')).toBeUndefined()
      await running.stop()
    })

    test('a rebuild whose handler fails is blocked, and leaves the live read model as it is', async () => {
      const { store, target, ...place } = await open()
      await deposit(store, 20)
      const running = await runProjections(store, [balances(target)])
      await running.caughtUp()
      let isBroken = true
      const second = balances(target, {
        version: 2,
        factor: 2,
        before: ({ revision }) => {
          if (isBroken && revision === 10) throw new Error('not this one')
        },
        maxRetries: 1,
      })
      await expect(second.rebuild(store)).rejects.toThrow(ProjectionBlockedError)
      await deposit(store, 5)
      await running.caughtUp()
      expect(await place.balances()).toEqual(await folded(store))
      expect(await running.status()).toMatchObject([{ rebuild: { state: 'blocked', handled: 10 } }])
      isBroken = false
      await second.unblock()
      await second.rebuild(store)
      expect(await place.balances()).toEqual(await folded(store, 2))
      await running.stop()
    })

    test('a rebuild under a view or a foreign key replaces the tables, or says what depends on them', async () => {
      const { store, target, ...place } = await open()
      await deposit(store, 5)
      const running = await runProjections(store, [balances(target)])
      await running.caughtUp()
      await running.stop()
      await sql(target, 'CREATE VIEW rich AS SELECT * FROM balances WHERE balance > 1')
      const second = balances(target, { version: 2, factor: 10 })
      if (target.dialect === 'postgres') {
        await expect(second.rebuild(store)).rejects.toThrow('view rich depends on table balances')
        expect(await place.balances()).toEqual(await folded(store))
        await sql(target, 'DROP VIEW rich')
      }
      await second.rebuild(store)
      expect(await place.balances()).toEqual(await folded(store, 10))
      if (target.dialect === 'sqlite') expect(await sql(target, 'SELECT * FROM rich')).toHaveLength(1)

      await sql(target, 'CREATE TABLE limits (account TEXT REFERENCES balances (account))')
      await sql(target, 'INSERT INTO limits SELECT account FROM balances')
      const third = balances(target, { version: 3, factor: 100 })
      const reason =
        /projection 'balances' cannot be dropped, .*(limits_account_fkey|FOREIGN KEY).*: drop that, and create it/
      await expect(third.rebuild(store)).rejects.toThrow(reason)
      await expect(second.reset()).rejects.toThrow(reason)
      expect(await place.balances()).toEqual(await folded(store, 10))
      await sql(target, 'DROP TABLE limits')
      await third.rebuild(store)
      expect(await place.balances()).toEqual(await folded(store, 100))
    })

    test('a trigger and a view that setup makes go on with the table after a rebuild', async ({ skip }) => {
      const { store, target } = await open()
      if (target.dialect === 'postgres')
        skip('what a trigger runs there is a function, which names tables as text')
      await deposit(store, 5)
      const setup = (tx: unknown, table: string) => {
        makeBalances(tx, table)
        run(tx, `CREATE VIEW ${table}_rich AS SELECT * FROM ${table} WHERE balance > 1`)
        run(tx, 'CREATE TABLE IF NOT EXISTS changes (account TEXT)')
        run(
          tx,
          `CREATE TRIGGER ${table}_noted AFTER INSERT ON ${table} BEGIN
            INSERT INTO changes SELECT account FROM ${table} WHERE account = new.account; END`,
        )
      }
      for (const version of [1, 2, 3]) {
        const projection = balances(target, { version, setup })
        if (version > 1) await projection.rebuild(store)
        const running = await runProjections(store, [projection])
        await deposit(store, 1)
        await running.caughtUp()
        await running.stop()
      }
      const rich = await sql(target, 'SELECT * FROM balances WHERE balance > 1')
      for (const { name } of await sql(target, "SELECT name FROM sqlite_master WHERE type = 'view'")) {
        expect(await sql(target, `SELECT * FROM "${String(name)}"`)).toEqual(rich)
      }
      expect((await sql(target, 'SELECT * FROM changes')).length).toBeGreaterThan(0)
    })

    test('each rebuild creates its indexes', async () => {
      const { store, target, ...place } = await open()
      await deposit(store, 20)
      const setup = (tx: unknown, table: string) => {
        const index = `CREATE INDEX ${table}_by_balance ON ${table} (balance)`
        const done = makeBalances(tx, table)
        return done instanceof Promise ? done.then(() => run(tx, index)) : run(tx, index)
      }
      for (const version of [1, 2, 3]) {
        const projection = balances(target, { version, factor: version, setup })
        if (version > 1) await projection.rebuild(store)
        const running = await runProjections(store, [projection])
        await running.caughtUp()
        expect(await place.balances()).toEqual(await folded(store, version))
        await running.stop()
        await projection.reset()
      }
    })

    test('a reset of a projection with tables starts it over while a worker runs, and its status is rebuilding', async () => {
      const { store, target, another, ...place } = await open()
      const other = await another()
      await deposit(store, 300)
      const projection = balances(target)
      const running = await runProjections(store, [projection])
      for (let i = 0; i < 5; i++) {
        await deposit(store, 20)
        await balances(other.target).reset()
      }
      await running.caughtUp()
      expect(await place.balances()).toEqual(await folded(store))
      await until(async () => (await projection.status(store)).state === 'running', 'it is done')
      await running.stop()

      await projection.reset()
      // The first transaction takes the lease; the others wait.
      const held = gate()
      let transactions = 0
      const before = () => (transactions++ < 1 ? undefined : held.opened)
      const slow = balances(faultyTarget(target, { before }))
      const again = await runProjections(store, [slow])
      await until(async () => (await slow.status(store)).state === 'rebuilding', 'it is rebuilding')
      held.open()
      await again.caughtUp(patiently)
      expect(await place.balances()).toEqual(await folded(store))
      await again.stop()
    })

    test('several programs of a new version reset a projection without tables once', async () => {
      const { store, target, another, ...place } = await open()
      await deposit(store, 100)
      const running = await runProjections(store, [plain(target, 1)])
      await running.caughtUp()
      await running.stop()
      await expect(runProjections(store, [plain(target, 2)])).rejects.toThrow(ProjectionVersionError)
      const others = [await another(), { store, target }]
      const next = await Promise.all(
        others.map((each) =>
          runProjections(each.store, [plain(each.target, 2)], { onNewVersion: 'rebuild' }),
        ),
      )
      await deposit(store, 10)
      for (const each of next) await each.caughtUp()
      expect(await place.balances()).toEqual(await folded(store, 2))
      for (const each of next) await each.stop()
      await plain(target, 2).rebuild(store)
      expect(await place.balances()).toEqual({})
    })

    test('caughtUp waits until the rebuild of a new version has replaced the read model, also of an empty log', async () => {
      const { store, target, ...place } = await open()
      const rebuilt = async (version: number) => {
        const projection = balances(target, { version, factor: version })
        const running = await runProjections(store, [projection], { onNewVersion: 'rebuild' })
        await running.caughtUp()
        expect(await projection.status(store)).toMatchObject({ version, rebuild: undefined })
        await running.stop()
      }
      await rebuilt(1)
      await rebuilt(2)
      await deposit(store, 20)
      await rebuilt(2)
      await rebuilt(3)
      expect(await place.balances()).toEqual(await folded(store, 3))
    })

    test('an error of setup names its projection, and its cause is what setup threw', async () => {
      const { store, target } = await open()
      const thrown: unknown[] = []
      const setup = (tx: unknown) => {
        const noted = (error: unknown) => {
          thrown.push(error)
          throw error
        }
        try {
          const returned = run(tx, 'CREATE TABL balances (account TEXT)')
          return returned instanceof Promise ? returned.catch(noted) : returned
        } catch (error) {
          return noted(error)
        }
      }
      const error = await runProjections(store, [balances(target, { setup })]).catch(
        (reason: unknown) => reason,
      )
      expect(error).toMatchObject({
        message: expect.stringMatching(/^'setup' of projection 'balances' failed: .*syntax error/) as string,
      })
      expect((error as Error).cause).toBe(thrown[0])
    })

    test('caughtUp rejects if the rebuild of a new version is blocked', async () => {
      const { store, target } = await open()
      await deposit(store, 5)
      const old = await runProjections(store, [balances(target)])
      await old.caughtUp()
      await old.stop()
      const before = () => {
        throw new Error('version 2 fails')
      }
      const next = balances(target, { version: 2, before, maxRetries: 0 })
      const running = await runProjections(store, [next], { onNewVersion: 'rebuild' })
      await expect(running.caughtUp()).rejects.toThrow('projection "balances" is blocked: version 2 fails')
      expect(await next.status(store)).toMatchObject({ version: 1 })
      await running.stop()
    })

    test('a projection that cannot be rebuilt does not keep the others from starting in a new version', async () => {
      const { store, target, ...place } = await open()
      await deposit(store, 20)
      const old = await runProjections(store, [balances(target), forever(target, 1), kept(target, 1)])
      await old.caughtUp()
      await old.stop()

      const failures: [string, string | undefined][] = []
      const next = balances(target, { version: 2, factor: 2 })
      const refused = kept(target, 2, 'refuse')
      const running = await runProjections(store, [forever(target, 2), next, refused], {
        onNewVersion: 'rebuild',
        onFailure: ({ code }, { name }) => failures.push([name, code]),
      })
      await until(async () => (await next.status(store)).version === 2, 'the other one is rebuilt')
      await deposit(store, 5)
      await next.caughtUpTo(await store.logHead(), patiently)
      expect(await place.balances()).toEqual(await folded(store, 2))
      expect(failures).toEqual([
        ['forever', 'UNSUPPORTED'],
        ['kept', 'PROJECTION_VERSION'],
      ])
      await expect(running.caughtUp()).rejects.toThrow(
        "projection 'forever' has neither 'tables' nor 'reset'",
      )
      expect(await running.status()).toMatchObject([
        { version: 1, state: 'stopped' },
        { version: 2, state: 'running' },
        { version: 1, state: 'stopped' },
      ])
      await running.stop()
      // Without any that can start, it throws.
      await expect(runProjections(store, [forever(target, 2)], { onNewVersion: 'rebuild' })).rejects.toThrow(
        UnsupportedError,
      )
      await expect(runProjections(store, [next, forever(target, 2)])).rejects.toThrow(ProjectionVersionError)
    })

    test('a new version that continues keeps what was written, and handles later events by its own handlers', async () => {
      const { store, target, another, ...place } = await open()
      await deposit(store, 20)
      const failures: unknown[] = []
      const old = await runProjections(store, [kept(target, 1)], {
        onFailure: ({ code }) => failures.push(code),
      })
      await old.caughtUp()
      const other = await another()
      const programs = [{ store, target }, other]
      const next = await Promise.all(
        programs.map((each) => runProjections(each.store, [kept(each.target, 2, 'continue')])),
      )
      await deposit(store, 5)
      for (const each of next) await each.caughtUp()
      expect(await place.balances('kept')).toEqual({ 'Account-a0': 20 + 2 * 5 })
      expect(await kept(target, 2).status(store)).toMatchObject({ version: 2, handled: 25, parked: 0 })
      await until(() => failures.length > 0, 'the old program notices')
      expect(failures).toEqual(['PROJECTION_VERSION'])
      await Promise.all([...next, old].map((each) => each.stop()))
      await expect(runProjections(store, [kept(target, 1, 'continue')])).rejects.toThrow(
        ProjectionVersionError,
      )
    })

    test('reset and rebuild refuse a projection that has neither tables nor reset', async () => {
      const { store, target } = await open()
      const projection = defineProjection({
        ...{ name: 'forever', into: target, from: [Account] },
        on: { 'Account.Opened': () => undefined },
      })
      await expect(projection.reset()).rejects.toThrow(UnsupportedError)
      await expect(projection.rebuild(store)).rejects.toThrow(UnsupportedError)
    })
  })
})

const postgres = places.at(-1)!

describe.skipIf(postgres.problem)('a rebuild on PostgreSQL', () => {
  test('a rebuild waits for a batch of the live build, and does not block readers meanwhile', async () => {
    const { store, target, another, ...place } = await postgres.open()
    const other = await another()
    await deposit(store, 10)
    const held: { until?: Promise<void> } = {}
    let isHeld = false
    let letGo: () => void = () => undefined
    const before = () => {
      isHeld = held.until !== undefined
      return held.until
    }
    const running = await runProjections(store, [balances(target, { before })])
    await running.caughtUp()
    held.until = new Promise((resolve) => {
      letGo = resolve
    })
    await deposit(store, 10)
    await until(() => isHeld, 'it is in a handler')
    const rebuilt = balances(other.target, { version: 2, factor: 2 }).rebuild(other.store)
    await until(async () => {
      const { rebuild } = await balances(target).status(store)
      return rebuild?.lag.events === 0 && rebuild.handled === 20
    }, 'it is built')
    // The batch ends only afterwards: a reader that waited for it would wait forever.
    for (let i = 0; i < 20; i++) expect(await place.balances()).toEqual({ 'Account-a0': 10 })
    letGo()
    await rebuilt
    expect(await place.balances()).toEqual(await folded(store, 2))
    await running.stop()
  })

  test('a reset in the middle of a batch causes no deadlock', async () => {
    const { store, target, another, ...place } = await postgres.open()
    const other = await another()
    const failures: unknown[] = []
    const before = () => new Promise((resolve) => setTimeout(resolve, 2))
    const projection = plain(target, 1, before)
    const running = await runProjections(store, [projection], { onFailure: (one) => failures.push(one) })
    for (let i = 0; i < 10; i++) {
      await deposit(store, 20)
      await plain(other.target, 1).reset()
    }
    await running.caughtUp()
    expect(await place.balances()).toEqual(await folded(store))
    expect(failures).toEqual([])
    await running.stop()
  })
})

/** A projection that cannot be rebuilt. */
function forever(target: ProjectionTarget<unknown>, version: number) {
  const projection = defineProjection({
    ...{ name: 'forever', version, into: target, from: [Account] },
    on: { 'Account.Opened': () => undefined },
  })
  return onClock(fastClock, projection)
}

/** Balances that cannot be rebuilt, and say what to do with them in a new version. */
function kept(
  target: ProjectionTarget<unknown>,
  version: number,
  onNewVersion?: 'rebuild' | 'continue' | 'refuse',
) {
  const projection = defineProjection({
    ...{ name: 'kept', version, into: target, from: [Account], onNewVersion },
    setup: (tx) => makeBalances(tx, 'kept'),
    on: { 'Account.Deposited': (event, tx) => add(tx, 'kept', event.stream, event.data.amount * version) },
  })
  return onClock(fastClock, projection)
}

/** Balances that are emptied by a `reset` of their own. */
function plain(target: ProjectionTarget<unknown>, version: number, before?: () => Promise<unknown>) {
  const projection = defineProjection({
    ...{ name: 'plain', version, into: target, from: [Account] },
    setup: (tx) => makeBalances(tx, 'balances'),
    reset: (tx) => run(tx, 'DELETE FROM balances'),
    on: {
      'Account.Deposited': (event, tx) => {
        const write = () => add(tx, 'balances', event.stream, event.data.amount * version)
        return before ? before().then(write) : write()
      },
    },
  })
  return onClock(fastClock, projection)
}
