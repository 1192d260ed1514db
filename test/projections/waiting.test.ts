import { NotCaughtUpError, ProjectionBlockedError } from 'mneme'
import { runProjections } from 'mneme/projections'
import { describe, expect, test } from 'vitest'

import { Account, balances, deposit, folded, places } from './rig.ts'

describe.each(places)('reading what one has written, in $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('across processes, whoever works', async () => {
      const { store, target, another, ...place } = await open()
      const other = await another()
      const running = await runProjections(store, [balances(target)])
      const projection = balances(other.target)
      for (let i = 1; i <= 10; i++) {
        const { position } = await other.store.append({
          stream: Account('b'),
          events: [Account.events.Deposited({ amount: 1 })],
        })
        await projection.caughtUpTo(position)
        expect(await place.balances()).toEqual({ 'Account-b': i })
      }
      await running.stop()
    })

    test('of events that it does not handle, a moment later', async () => {
      const { store, target } = await open()
      const projection = balances(target)
      const running = await runProjections(store, [projection])
      await running.caughtUp()
      const waited: number[] = []
      for (let i = 0; i < 10; i++) {
        const { position } = await store.append({ stream: 'Other-1', events: [{ type: 'Other', data: {} }] })
        const began = performance.now()
        await projection.caughtUpTo(position)
        waited.push(performance.now() - began)
      }
      expect(waited.sort((a, b) => a - b)[5]).toBeLessThan(500)
      expect(await projection.status(store)).toMatchObject({ position: await store.logHead(), handled: 0 })
      await running.stop()
    })

    test('of a log of which it handles hardly anything, while it catches up', async () => {
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

    test('in vain: stopped, blocked, or not run at all', async () => {
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
      await expect(projection.caughtUpTo(head)).rejects.toThrow(ProjectionBlockedError)
      await expect(running.caughtUp()).rejects.toThrow(ProjectionBlockedError)
      await running.stop()
      await projection.unblock()
      await expect(projection.caughtUpTo(head, { timeout: 30 })).rejects.toThrow(NotCaughtUpError)
      await expect(projection.caughtUpTo(head, { timeout: 0 })).rejects.toThrow(NotCaughtUpError)
    })

    test('until one gives it up', async () => {
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
