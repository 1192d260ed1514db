import { setTimeout as delay } from 'node:timers/promises'
import { postgresStore } from 'mneme/postgres'
import { expect } from 'vitest'

import { none } from './postgres/ledger.ts'
import { Tail, Writer } from './postgres/processes.ts'
import { stop, underWay } from './postgres/run.ts'
import { ledgerFolder, rounds, settlements, slowCommits, soakServer, test } from './postgres/soak.ts'

const server = soakServer()

test('backends halted for longer than a time-out: what comes late, comes once or not at all', async () => {
  const url = await server().createDatabase()
  const database = new URL(url).pathname.slice(1)
  const file = ledgerFolder()
  await (await postgresStore(url)).close()
  await server().query(slowCommits(0.05, 50), database)
  const started = performance.now()

  const settings = { busyTimeout: 250, statementTimeout: 500, connectTimeout: 20_000 }
  const writers = [0, 1, 2, 3].map((i) => {
    const name = `writer${i}`
    return new Writer(url, {
      ...settings,
      name,
      ledger: file(name),
      callers: 8,
      pause: 10,
      prepare: i % 2 === 0,
    })
  })
  const tails = ['tail0', 'tail1'].map(
    (name) => new Tail(url, { name, seen: file(name), busyTimeout: 20_000, statementTimeout: 60_000 }),
  )
  await underWay(writers, tails)

  let halted = 0
  for (const round of rounds({ full: 60, brief: 8 })) {
    await delay(Math.random() * 200)
    const victims = await server().query(
      `SELECT pid FROM pg_stat_activity WHERE datname = '${database}' AND application_name LIKE 'writer%'
        AND state = 'active' AND query LIKE '%append%' ORDER BY random() LIMIT ${1 + (round % 2)}`,
    )
    // It may hold a lock of the server's own, so that nothing goes on at all: no query until it goes on.
    for (const { pid } of victims) server().pause(pid as number)
    await delay(round % 3 === 0 ? 1_500 : Math.random() * 1_000)
    for (const { pid } of victims) {
      // The last thing that its client did may have been to leave.
      if (round % 4 === 0) await server().query(`SELECT pg_terminate_backend(${pid as number})`)
      server().resume(pid as number)
    }
    halted += victims.length
  }

  const { log, ledgers, unknown, failures, differences } = await stop(server(), url, { writers, tails })
  const late = ledgers.unheard(new Set(log.map(({ id }) => id)))
  const seconds = Math.round((performance.now() - started) / 1000)
  console.log(
    `paused (PostgreSQL ${server().major}): ${ledgers.acknowledged} acknowledged, ${ledgers.settled} found committed, ` +
      `${await settlements(server(), url)} settlements, ${ledgers.refused} refused, ${unknown} unknown (${late} of them there), ` +
      `${log.length} events, ${halted} backends halted, ${seconds} s`,
  )
  expect(ledgers.check(log).slice(0, 20)).toEqual([])
  const codes = new Set([...ledgers.failures.keys()].map((failure) => failure.split(' ')[0]))
  for (const code of codes) expect(['STORE_BUSY', 'STORE_TIMEOUT']).toContain(code)
  expect(failures).toEqual(tails.map(() => ({ failures: {} })))
  expect(differences).toEqual(tails.map(() => none))
})
