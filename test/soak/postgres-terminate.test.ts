import { setTimeout as delay } from 'node:timers/promises'
import { postgresStore } from 'mneme/postgres'
import { expect } from 'vitest'

import { none } from './postgres/ledger.ts'
import { Tail, Writer } from './postgres/processes.ts'
import { stop, underWay } from './postgres/run.ts'
import { ledgerFolder, rounds, settlements, slowCommits, soakServer, test } from './postgres/soak.ts'
import { historyOf } from '../stores/sqlite/history.ts'

const server = soakServer()

test('round after round of pg_terminate_backend: all that was acknowledged is there, and the tails saw it', async () => {
  const url = await server().createDatabase()
  const database = new URL(url).pathname.slice(1)
  const file = ledgerFolder()
  await (await postgresStore(url)).close()
  // Some commits take their time, so that backends end between drawing a number and committing it.
  await server().query(slowCommits(0.02, 30), database)
  const started = performance.now()

  const writers = Array.from({ length: 4 }, (_, i) => {
    const name = `writer${i}`
    const how = { name, ledger: file(name), callers: 8 + 2 * i, pause: 3, prepare: i % 2 === 0 }
    return new Writer(url, { ...how, busyTimeout: 25_000, statementTimeout: 60_000, connectTimeout: 60_000 })
  })
  const tails = ['tail0', 'tail1', 'tail2', 'tail3'].map((name, i) => {
    const how = { name, seen: file(name), prepare: i === 0, connectTimeout: 60_000, statementTimeout: 60_000 }
    return new Tail(
      url,
      i === 1 ? { ...how, limit: 7 } : i === 3 ? { ...how, categories: ['guard', 'shared'] } : how,
    )
  })
  await underWay(writers, tails)

  let [terminated, done] = [0, 0]
  for (const round of rounds({ full: 200, brief: 20 })) {
    await delay(Math.random() * 400)
    const who = round % 4 === 3 ? 'tail' : 'writer'
    const when = Math.random() < 0.5 ? "state = 'active'" : 'true'
    const [row] = await server().query(
      `SELECT count(pg_terminate_backend(pid))::int AS terminated FROM (
        SELECT pid FROM pg_stat_activity
          WHERE datname = '${database}' AND application_name LIKE '${who}%' AND ${when}
          ORDER BY random() LIMIT ${1 + (round % 3)}) victims`,
    )
    terminated += row!.terminated as number
    done++
  }

  const { log, ledgers, unknown, failures, differences } = await stop(server(), url, { writers, tails })
  const seconds = Math.round((performance.now() - started) / 1000)
  console.log(
    `terminate (PostgreSQL ${server().major}): ${ledgers.acknowledged} acknowledged, ${ledgers.settled} found committed, ` +
      `${await settlements(server(), url)} settlements, ` +
      `${ledgers.refused} refused, ${unknown} unknown, ${log.length} events, ${terminated} backends terminated, ${seconds} s`,
  )
  expect(ledgers.check(log).slice(0, 20)).toEqual([])
  expect(Object.fromEntries(ledgers.failures)).toEqual({})
  expect(failures).toEqual(tails.map(() => ({ failures: {} })))
  expect(differences).toEqual(tails.map(() => none))
  const store = await postgresStore(url)
  const history = await historyOf(store)
  expect(history.map(({ id }) => id)).toEqual(log.map(({ id }) => id))
  await store.close()
  expect(terminated).toBeGreaterThan(done / 2)
  expect(ledgers.acknowledged).toBeGreaterThan(done)
})
