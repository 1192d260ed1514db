import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import * as z from 'zod'
import { defineAggregate, type EventStore } from 'mneme'
import { checkHistory, recordShapes } from 'mneme/history'
import { sqliteStore } from 'mneme/sqlite'

import { CurrentAccount } from '../examples/bank/account.ts'
import { importStatement } from './bank-history.ts'
import { compare, cpuSeconds, type Comparison, type Figure } from './measure.ts'
import { readAll } from './work.ts'

const STATEMENT = process.env.MNEME_DATA ?? '../shared/data/bank-1993.csv'

/** The same account, with schemas. */
const movement = z.object({
  amount: z.int().positive(),
  operation: z.string(),
  date: z.string().optional(),
})
const CheckedAccount = defineAggregate({
  name: 'CurrentAccount',
  events: {
    Opened: z.object({ overdraft: z.union([z.int(), z.literal('unlimited')]) }),
    Deposited: movement,
    Withdrawn: movement,
  },
  initial: () => ({ balance: 0 }),
  apply: {
    Opened: (state) => state,
    Deposited: ({ balance }, { amount }) => ({ balance: balance + amount }),
    Withdrawn: ({ balance }, { amount }) => ({ balance: balance - amount }),
  },
})

/**
 * Checking the history of a bank in SQLite against reading it, `readAll` in a loop that does nothing else. Neither waits for
 * anything, so that CPU time is compared: it is steadier than the clock on a machine with other work.
 */
export async function* historyFigures(): AsyncGenerator<Figure> {
  if (!existsSync(STATEMENT)) {
    yield { name: 'checking a history', value: `not measured: ${STATEMENT} is not at hand (MNEME_DATA)` }
    return
  }
  const folder = await mkdtemp(join(process.env.MNEME_BENCH_DIR ?? tmpdir(), 'mneme-bench-'))
  const store = await sqliteStore(join(folder, 'bank.db'))
  const events = await importStatement(store, STATEMENT)
  const against = (
    name: string,
    work: (store: EventStore) => Promise<unknown>,
  ): Omit<Comparison, 'goal'> => ({
    name,
    to: 'reading all of it',
    operations: [events, events],
    runs: 11,
    ours: () => cpuSeconds(() => work(store)),
    theirs: () => cpuSeconds(() => readAll(store)),
  })
  const checked = async (report: ReturnType<typeof checkHistory>) => {
    const { findings } = await report
    if (findings.length > 0) throw new Error(JSON.stringify(findings))
  }
  try {
    yield await compare({
      ...against('checkHistory, the bank of 1993', (bank) => checked(checkHistory(bank, [CurrentAccount]))),
      goal: 0.5,
    })
    yield await compare({
      ...against('checkHistory, the same with Zod schemas', (bank) =>
        checked(checkHistory(bank, [CheckedAccount])),
      ),
      goal: 0.5,
    })
    yield await compare(against('recordShapes', (bank) => recordShapes(bank, [CurrentAccount])))
  } finally {
    await store.close()
    await rm(folder, { recursive: true })
  }
}
