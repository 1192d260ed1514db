import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'

import { Depositing, Fold, Projecting, sharedPlaces, type Locations } from '../projections/processes.ts'
import { deposit, until } from '../projections/rig.ts'
import { testFolder } from '../stores/sqlite/folder.ts'
import { isBrief, rounds } from '../support/soak.ts'

const versions = isBrief ? 1 : 2
const backlog = isBrief ? 3_000 : 10_000
/** Short, because the next worker waits for it; on PostgreSQL also how long a transaction may be idle on a busy machine. */
const leaseOf = ({ target }: Locations) => (target.startsWith('postgres') ? 250 : 100)
/** How many processes are started ahead: a start takes longer than a round. */
const PROCESSES_AHEAD = 3

describe.each(sharedPlaces)('killed workers of $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test('after each kill, the read model is what a fold up to its checkpoint gives', async () => {
      const place = await open()
      const { store, locations } = place
      const lease = leaseOf(locations)
      const ledger = join(testFolder(), 'handled')
      const started = performance.now()
      const writer = new Depositing(locations, { pause: 30, burst: 300 })
      await writer.said('appending')
      const next = (i: number) =>
        new Projecting(locations, { lease, ledger, slow: [0, 5, 50][i % 3]!, isOfPages: i % 2 === 1 })
      const waiting = Array.from({ length: PROCESSES_AHEAD }, (_, i) => next(i))
      const fold = new Fold(store)
      let before = 0
      let [moved, failures] = [0, 0]
      let kills = 0
      for (const round of rounds({ full: 170, brief: 14 })) {
        kills++
        const worker = waiting.shift()!
        await worker.said('ready')
        worker.say('go')
        waiting.push(next(round))
        // Also while it starts, and now and then so late that it has caught up.
        if (round % 5 > 0) {
          await worker.said('running')
          await delay(lease)
        }
        await delay(Math.random() * (round % 5 === 1 ? 1_000 : 2 * lease))
        worker.child.kill('SIGKILL')
        await worker.ended
        failures += worker.lines.filter((line) => line.startsWith('failed')).length
        const kept = await place.kept()
        if (!kept) continue
        expect(kept.totals).toEqual(await fold.upTo(kept.position))
        expect(kept.applied).toBe(fold.events)
        expect(kept.state).not.toBe('blocked')
        if (kept.applied > before) moved++
        before = kept.applied
      }
      for (const { child } of waiting) child.kill('SIGKILL')
      const deposited = await writer.stopped()
      const last = new Projecting(locations, { lease: 10_000, ledger, isReady: true })
      const head = await store.logHead()
      await until(async () => (await place.kept())?.position === head, 'the last one has caught up', 120_000)
      last.say('stop')
      expect(await last.result()).toEqual({ failures: {} })
      const kept = await place.kept()
      expect(kept?.totals).toEqual(await fold.upTo(head))
      expect(kept?.applied).toBe(deposited)
      const seconds = Math.round((performance.now() - started) / 1000)
      console.log(
        `${kills} workers killed, ${moved} of them after they had committed something; ${deposited} events, ` +
          `${statSync(ledger).size - deposited} more handled and rolled back, ` +
          `${failures} attempts in vain, ${seconds} s`,
      )
      expect(moved).toBeGreaterThan(kills / 20)
    })

    test(`the live read model is right at every moment of ${versions} rebuilds whose workers keep being killed`, async () => {
      const place = await open()
      const { store, locations } = place
      const lease = leaseOf(locations)
      const started = performance.now()
      await deposit(store, backlog)
      const writer = new Depositing(locations, { pause: 40, burst: 50 })
      // One fold for each version that is live in turn; the checkpoint goes back in none of them.
      const folds = Array.from({ length: versions + 2 }, (_, version) => new Fold(store, version))
      const check = async () => {
        const kept = await place.kept()
        expect(kept?.totals).toEqual(await folds[kept!.version]!.upTo(kept!.position))
        expect(kept?.applied).toBe(folds[kept!.version]!.events)
        return kept!
      }
      let live = new Projecting(locations, { lease, isReady: true })
      await live.said('running')
      let [kills, reads, isOver] = [0, 0, false]
      const reading = (async () => {
        for (; !isOver; reads++) {
          await check()
          await delay(20)
        }
      })()
      for (let version = 2; version <= versions + 1; version++) {
        const rebuild = () =>
          new Projecting(locations, { lease, version, onNewVersion: 'rebuild', isReady: true })
        for (let tries = 0; ; tries++) {
          const worker = rebuild()
          await worker.said('running')
          // Longer each time, so that a slow machine gets there, too.
          await delay(Math.random() * (3 + tries) * lease)
          worker.child.kill('SIGKILL')
          await worker.ended
          kills++
          if ((await place.kept())?.version === version) break
        }
        live.child.kill('SIGKILL')
        live = rebuild()
        await live.said('running')
      }
      await writer.stopped()
      const head = await store.logHead()
      await until(async () => (await place.kept())?.position === head, 'the last one has caught up', 120_000)
      isOver = true
      await reading
      live.say('stop')
      expect(await live.result()).toEqual({ failures: {} })
      const seconds = Math.round((performance.now() - started) / 1000)
      console.log(`${versions} rebuilds killed ${kills} times, read ${reads} times meanwhile, ${seconds} s`)
      expect((await check()).version).toBe(versions + 1)
    })
  })
})
