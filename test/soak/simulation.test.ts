import { randomInt } from 'node:crypto'
import { simulate, type SimulateOptions } from 'mneme/simulation'
import { expect, test } from 'vitest'

import { balances, bank, till } from '../simulation/bank.ts'
import { shop } from '../simulation/shop.ts'
import { rounds, seed } from '../support/soak.ts'

test.each<[string, SimulateOptions, runs: number]>([
  ['a bank on a store that can do everything', bank, 1_000],
  ['a bank on a store that does not settle every append', { ...bank, store: { settlesAny: false } }, 1_000],
  [
    'a till on a store that takes one stream at a time and keeps no keys',
    { ...till, store: { severalStreams: false, keys: false, settlesAny: false } },
    1_000,
  ],
  ['a bank with a read model', { ...bank, projections: [balances] }, 100],
  ['a shop with reactions, timers and a relay', shop, 100],
])('%s keeps every promise in three processes', async (_, options, runs) => {
  const first = seed ?? randomInt(2 ** 31)
  let executed = 0
  for (const round of rounds({ full: 500, brief: 1 })) {
    const report = await simulate({ ...options, runs, seed: (first + round * runs) % 2 ** 32 })
    executed += report.executed
  }
  console.log(`${executed} commands, from seed ${first}`)
  expect(executed).toBeGreaterThan(0)
})
