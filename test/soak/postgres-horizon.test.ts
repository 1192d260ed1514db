import { setTimeout as delay } from 'node:timers/promises'
import { postgresStore } from 'mneme/postgres'
import { describe, expect } from 'vitest'

import { none, type Stored } from './postgres/ledger.ts'
import { Tail, Writer } from './postgres/processes.ts'
import { stop, underWay } from './postgres/run.ts'
import { isBrief, ledgerFolder, slowCommits, soakServer, test } from './postgres/soak.ts'

const server = soakServer()

const pause = 'PERFORM pg_sleep(CASE WHEN random() < 0.1 THEN random() / 100 ELSE 0 END);'

/** The steps of an append to its number: it reads the last one, registers in flight, draws. */
const draw = /(last := [^;]+;)([^]*?)(ignored := pg_advisory_xact_lock_shared[^;]+;)\s*(number := [^;]+;)/
/** Those of a reader: it reads the last number, looks who is in flight, concludes. */
const look = /(drawn := [^;]+;)([^]*?)(SELECT min[^;]+;)[^;]*(SELECT e\.position[^;]+;)/

/** What of the functions is replaced; the first of them is only slow. */
const variants = {
  right: [
    ...[draw, `${pause} $1 $2 ${pause} $3 ${pause} $4 ${pause}`],
    ...[look, `${pause} $1 $2 ${pause} $3 ${pause} $4`],
  ],
  'reads up to the last number': [look, '$1 $2 behind := 0; $4'],
  'looks who is in flight before it reads the last number': [
    look,
    '$1 $2 $3 PERFORM pg_sleep(random() / 50); IF behind < 0 THEN NULL; ELSE $1 END IF; $4',
  ],
  'registers after it has drawn': [draw, `$1 $2 $4 ${pause} $3`],
} satisfies Record<string, readonly (RegExp | string)[]>

/** Writers and tails on functions of which something is replaced; what the tails saw, in the end. */
async function tailed(replacements: readonly (RegExp | string)[], milliseconds: number) {
  const url = await server().createDatabase()
  const database = new URL(url).pathname.slice(1)
  const file = ledgerFolder()
  await (await postgresStore(url)).close()
  await server().query(slowCommits(0.1, 20), database)
  const functions = await server().query(
    `SELECT pg_get_functiondef(oid) AS sql FROM pg_proc
      WHERE pronamespace = 'mneme'::regnamespace AND proname IN ('append', 'append_one', 'horizon')`,
    database,
  )
  let replaced = 0
  for (const { sql } of functions) {
    for (let i = 0; i < replacements.length; i += 2) {
      const other = String(sql).replace(replacements[i]!, String(replacements[i + 1]))
      if (other === sql) continue
      await server().query(other, database)
      replaced++
    }
  }

  const writers = [0, 1, 2].map((i) => {
    const name = `writer${i}`
    return new Writer(url, { name, ledger: file(name), callers: 8, pause: 2, busyTimeout: 25_000 })
  })
  const tails = ['tail0', 'tail1', 'tail2'].map(
    (name) => new Tail(url, { name, seen: file(name), busyTimeout: 25_000 }),
  )
  await underWay(writers, tails)
  await delay(milliseconds)
  const { failures, ...seen } = await stop(server(), url, { writers, tails })
  for (const failure of failures) expect(failure).toEqual({ failures: {} })
  return { ...seen, replaced }
}

test('with pauses between all steps nothing is missed, and the ledger agrees', async () => {
  const started = performance.now()
  const { log, ledgers, replaced, differences } = await tailed(variants.right, isBrief ? 5_000 : 30_000)
  const seconds = Math.round((performance.now() - started) / 1000)
  console.log(`right (PostgreSQL ${server().major}): ${log.length} events, none missed, ${seconds} s`)
  expect(replaced).toBe(3)
  expect(differences).toEqual(differences.map(() => none))
  expect(ledgers.check(log)).toEqual([])
  expect(Object.fromEntries(ledgers.failures)).toEqual({})

  // The check finds what is not as it was told.
  const changed = (change: (log: Stored[]) => unknown) => {
    const other = structuredClone(log)
    change(other)
    return ledgers.check(other).length
  }
  const middle = log.length >> 1
  expect(changed(() => {})).toBe(0)
  expect(changed((other) => other.splice(middle, 1))).toBeGreaterThan(0)
  expect(changed((other) => other.pop())).toBeGreaterThan(0)
  expect(changed((other) => other.push(other[middle]!))).toBeGreaterThan(0)
  expect(changed((other) => other.push({ ...other[0]!, id: crypto.randomUUID() }))).toBeGreaterThan(0)
  expect(
    changed((other) => (other[middle] = { ...other[middle]!, position: '0'.repeat(19) })),
  ).toBeGreaterThan(0)
  expect(changed((other) => (other[middle] = { ...other[middle]!, stream: 'other' }))).toBeGreaterThan(0)
  const [first, second] = [other(log, 'hot-0'), other(log, 'hot-1')]
  expect(changed((all) => ([all[first], all[second]] = [all[second]!, all[first]!]))).toBeGreaterThan(0)
})

describe('the check finds that events are missed by a store that', () => {
  const wrong = Object.entries(variants).filter(([name]) => name !== 'right')
  test.each(wrong)('%s', async (name, replacements) => {
    const started = performance.now()
    let [missed, events] = [0, 0]
    // As often as it takes: how much there is to miss hangs on what else the machine does.
    for (let attempt = 0; attempt < 10 && missed === 0; attempt++) {
      const { log, differences, replaced } = await tailed(replacements, isBrief ? 2_000 : 5_000)
      expect(replaced).toBeGreaterThan(0)
      for (const difference of differences) missed += difference.missed
      events += log.length
    }
    const seconds = Math.round((performance.now() - started) / 1000)
    console.log(`${name}: ${missed} missed of ${events} events, by three tails, ${seconds} s`)
    expect(missed).toBeGreaterThan(0)
  })
})

function other(log: readonly Stored[], name: string): number {
  return log.findIndex(({ stream }) => stream === name)
}
