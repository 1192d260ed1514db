import { InvalidArgumentError, NotCaughtUpError, ProjectionBlockedError, StoreUnavailableError } from 'mneme'
import { runProjections } from 'mneme/projections'
import { describe, expect, test, vi } from 'vitest'

import type { ProjectionTarget } from '../../src/adapter/projection-target.ts'
import { ManualClock } from '../support/manual-clock.ts'
import { Account, balances, deposit, folded, patiently, places, until } from './rig.ts'

describe.each(places)('caughtUpTo, with $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('caughtUpTo waits for a worker in another process', async () => {
      const { store, target, another, ...place } = await open()
      const other = await another()
      const running = await runProjections(store, [balances(target)])
      const projection = balances(other.target)
      for (let i = 1; i <= 10; i++) {
        const { position } = await other.store.append({
          stream: Account('b'),
          events: [Account.events.Deposited({ amount: 1 })],
        })
        await projection.caughtUpTo(position, patiently)
        expect(await place.balances()).toEqual({ 'Account-b': i })
      }
      await running.stop()
    })

    test('caughtUpTo waits at most 100 ms for events that the projection does not handle', async () => {
      const { store, target } = await open()
      const clock = new ManualClock()
      const projection = balances(target, { clock })
      const running = await runProjections(store, [projection])
      await running.caughtUp()
      for (let i = 0; i < 10; i++) {
        const { position } = await store.append({ stream: 'Other-1', events: [{ type: 'Other', data: {} }] })
        let isThere = false
        const waiting = projection.caughtUpTo(position, patiently).then(() => (isThere = true))
        await until(() => isThere || clock.pending.some((pause) => pause <= 100), 'it waits at most 100 ms')
        clock.advance(100)
        await waiting
      }
      expect(await projection.status(store)).toMatchObject({ position: await store.logHead(), handled: 0 })
      await running.stop()
    })

    test('a projection catches up with a log of which it handles hardly anything', async () => {
      const { store, target, ...place } = await open()
      const others = Array.from({ length: 500 }, () => ({ type: 'Other', data: {} }))
      for (let i = 0; i < 10; i++) await store.append({ stream: 'Other-1', events: others })
      await deposit(store, 1)
      for (let i = 0; i < 4; i++) await store.append({ stream: 'Other-1', events: others })
      const projection = balances(target)
      const running = await runProjections(store, [projection])
      await running.caughtUp()
      expect(await place.balances()).toEqual(await folded(store))
      await running.stop()
    })

    test('caughtUpTo rejects if the projection is blocked, stopped, or was never run', async () => {
      const { store, target } = await open()
      await deposit(store, 1)
      const head = await store.logHead()
      const projection = balances(target, {
        before: () => {
          throw new Error('no')
        },
        maxRetries: 0,
      })
      await expect(projection.caughtUpTo(head, { timeout: 30 })).rejects.toThrow(NotCaughtUpError)
      await projection.caughtUpTo(undefined, { timeout: 0 })
      const running = await runProjections(store, [projection])
      await expect(projection.caughtUpTo(head, patiently)).rejects.toThrow(ProjectionBlockedError)
      await expect(running.caughtUp()).rejects.toThrow(ProjectionBlockedError)
      await running.stop()
      await projection.unblock()
      await expect(projection.caughtUpTo(head, { timeout: 30 })).rejects.toThrow(NotCaughtUpError)
      await expect(projection.caughtUpTo(head, { timeout: 0 })).rejects.toThrow(NotCaughtUpError)
    })

    test('caughtUp and caughtUpTo go on waiting while the target or the store is unreachable', async () => {
      const { store, target } = await open()
      await deposit(store, 1)
      const outages = [0, 0]
      const fails = (i: number) => {
        if (outages[i]!++ < 4) throw new StoreUnavailableError('a test has cut the connection')
      }
      let isDown = false
      const read: ProjectionTarget<unknown>['read'] = async (work) => {
        if (isDown) fails(0)
        return target.read(work)
      }
      const head = await store.logHead()
      vi.spyOn(store, 'logHead').mockImplementation(async () => {
        if (isDown) fails(1)
        return Promise.resolve(head)
      })
      const cut = new Proxy(target, {
        get: (of, key) => (key === 'read' ? read : bound(of, key)),
      })
      const projection = balances(cut)
      const running = await runProjections(store, [projection])
      isDown = true
      await running.caughtUp()
      expect(Math.min(...outages)).toBeGreaterThan(4)
      outages[0] = 0
      await projection.caughtUpTo(head, patiently)
      outages[0] = -1_000_000
      await expect(projection.caughtUpTo(head, { timeout: 30 })).rejects.toMatchObject({
        code: 'NOT_CAUGHT_UP',
        cause: { code: 'STORE_UNAVAILABLE' },
      })
      isDown = false
      await running.stop()
    })

    test('caughtUpTo refuses a position of another format at once', async () => {
      const { store, target } = await open()
      await deposit(store, 1)
      const projection = balances(target)
      const wrong = ['zzz', '', '42', '00000000000000000000000001', 7 as unknown as string]
      for (const position of ['zzz', '', 7 as unknown as string]) {
        await expect(projection.caughtUpTo(position, patiently)).rejects.toThrow(InvalidArgumentError)
      }
      const running = await runProjections(store, [projection])
      for (const position of wrong) {
        await expect(projection.caughtUpTo(position, patiently)).rejects.toThrow(InvalidArgumentError)
      }
      await running.caughtUp()
      for (const position of wrong) {
        await expect(projection.caughtUpTo(position, patiently)).rejects.toThrow(/^position must be/)
      }
      await running.stop()
      // Also in a process that does not run it.
      await expect(balances(target).caughtUpTo('zzz', patiently)).rejects.toThrow(InvalidArgumentError)
    })

    test('caughtUpTo ends with the reason of its signal', async () => {
      const { store, target } = await open()
      await deposit(store, 1)
      const giving = new AbortController()
      const waiting = balances(target).caughtUpTo(await store.logHead(), {
        signal: giving.signal,
        timeout: 20_000,
      })
      setTimeout(() => {
        giving.abort(new Error('no longer wanted'))
      }, 50)
      await expect(waiting).rejects.toThrow('no longer wanted')
    })
  })
})

/** A member of an object with private fields, for a proxy of it. */
function bound(of: object, key: PropertyKey): unknown {
  const member: unknown = Reflect.get(of, key, of)
  return typeof member === 'function' ? (member.bind(of) as unknown) : member
}
