import { describe, expect, test } from 'vitest'

import { drivers } from '../stores/sqlite/drivers.ts'
import { measureFairness } from '../stores/sqlite/fairness.ts'
import { testFolder } from '../stores/sqlite/folder.ts'
import { isBrief } from '../support/soak.ts'

const rounds = 2_000

// Its bounds are times, so it needs a machine that does nothing else: it is no part of `.ci/run`.
describe.skipIf(isBrief).each(drivers)('fairness between processes with $name', ({ name }) => {
  test('with two busy writers a light one waits at most 100 ms, and event loops are late by at most 10 ms more (p99)', async () => {
    const { apart, together } = await measureFairness(name, testFolder(), rounds)
    const figures = JSON.stringify({ apart, together }, (_, value: unknown) =>
      typeof value === 'number' ? Math.round(value * 10) / 10 : value,
    )
    console.log(figures)
    expect(together.waits.p99, figures).toBeLessThanOrEqual(100)
    for (const process of ['light', 'busy'] as const) {
      expect(together.late[process].p99, figures).toBeLessThanOrEqual(apart.late[process].p99 + 10)
    }
    const [one = 0, other = 0] = together.appended
    expect(Math.min(one, other) / Math.max(one, other), figures).toBeGreaterThan(0.3)
  })
})
