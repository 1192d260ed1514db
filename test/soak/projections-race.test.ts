import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'

import { Depositing, Fold, Projecting, sharedPlaces } from '../projections/processes.ts'
import { until } from '../projections/rig.ts'
import { isBrief } from '../support/soak.ts'

const seconds = isBrief ? 6 : 20
const [processes, workers, lease] = [10, 2, 150]

describe.each(sharedPlaces)('racing workers of $name', ({ open, problem }) => {
  describe.skipIf(problem)(problem ?? '', () => {
    test(`each event counts once with ${workers} workers in each of ${processes} processes that are killed and halted for ${seconds} s`, async () => {
      const place = await open()
      const { store, locations } = place
      const begin = () => new Projecting(locations, { lease, workers, slow: 5, isReady: true })
      const racing = Array.from({ length: processes }, begin)
      await Promise.all(racing.map((worker) => worker.said('running')))
      const writer = new Depositing(locations, { pause: 20, burst: 300 })
      await writer.said('appending')

      const fold = new Fold(store)
      const counts = { killed: 0, halted: 0, checks: 0 }
      const check = async () => {
        const kept = await place.kept()
        expect(kept?.totals).toEqual(await fold.upTo(kept?.position))
        expect(kept?.applied).toBe(fold.events)
        expect(kept?.state).not.toBe('blocked')
        counts.checks++
        return kept
      }
      const end = performance.now() + seconds * 1_000
      while (performance.now() < end) {
        const i = Math.floor(Math.random() * processes)
        const worker = racing[i]!
        if (Math.random() < 0.3) {
          worker.child.kill('SIGKILL')
          racing[i] = begin()
          counts.killed++
        } else {
          worker.child.kill('SIGSTOP')
          // Mostly for longer than the lease.
          setTimeout(() => worker.child.kill('SIGCONT'), Math.random() * 4 * lease)
          counts.halted++
        }
        await delay(Math.random() * 200)
        await check()
      }
      const deposited = await writer.stopped()
      const head = await store.logHead()
      await until(async () => (await place.kept())?.position === head, 'all is handled', 120_000)
      expect((await check())?.applied).toBe(deposited)
      for (const worker of racing) {
        worker.child.kill('SIGCONT')
        await worker.said('running')
        worker.say('stop')
      }
      const results = await Promise.all(racing.map((worker) => worker.result<{ failures: object }>()))
      const failures = results.flatMap((result) => Object.keys(result.failures))
      console.log(
        `${deposited} events, ${counts.killed} processes killed, ${counts.halted} halted, ${counts.checks} looks`,
        [...new Set(failures)],
      )
      // One that is halted in a transaction blocks others, loses the transaction, or finds its handler's time-out passed.
      const isExpected = /^STORE_(BUSY|UNAVAILABLE) | did not settle within /
      expect(failures.filter((failure) => !isExpected.test(failure))).toEqual([])
    })
  })
})
