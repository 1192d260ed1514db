import { randomInt } from 'node:crypto'
import { simulate, type SimulateOptions } from 'mneme/simulation'
import { expect, test } from 'vitest'

import { bank } from '../simulation/bank.ts'
import { rounds, seed } from '../support/soak.ts'

test.each<[string, SimulateOptions['store']]>([
  ['everything', {}],
  ['everything but settling every append', { settlesAny: false }],
])('a bank of three processes keeps every promise on a store that can do %s', async (_, store) => {
  const first = seed ?? randomInt(2 ** 31)
  let executed = 0
  for (const round of rounds({ full: 500, brief: 4 })) {
    const report = await simulate({ ...bank, store, runs: 1_000, seed: (first + round * 1_000) % 2 ** 32 })
    executed += report.executed
  }
  console.log(`${executed} commands, from seed ${first}`)
  expect(executed).toBeGreaterThan(0)
})
