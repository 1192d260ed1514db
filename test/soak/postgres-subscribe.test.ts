import { setTimeout as delay } from 'node:timers/promises'
import { postgresStore } from 'mneme/postgres'
import { expect } from 'vitest'

import { TestDatabase } from '../stores/postgres/database.ts'
import { startProxy } from '../support/proxy.ts'
import { none } from './postgres/ledger.ts'
import { Tail, Writer, type Subscribed } from './postgres/processes.ts'
import { stop, underWay } from './postgres/run.ts'
import { isBrief, ledgerFolder, slowCommits, soakServer, test } from './postgres/soak.ts'

const server = soakServer()
const seconds = isBrief ? 10 : 60

test(`${seconds} s of subscribers that come and go, every connection cut each second: each sees the log`, async () => {
  const url = await server().createDatabase()
  const database = new TestDatabase(server(), url)
  const file = ledgerFolder()
  await (await postgresStore(url)).close()
  await database.query(slowCommits(0.05, 30))
  const proxy = await startProxy(server().port)
  const through = proxy.url(url)
  // Few connections each, or a slow machine does nothing but connect.
  const patient = { max: 4, busyTimeout: 25_000, statementTimeout: 60_000, connectTimeout: 60_000 }

  // Ten in four processes.
  const writers = [2, 3, 2, 3].map((callers, i) => {
    const name = `writer${i}`
    return new Writer(i < 2 ? through : url, { name, ledger: file(name), callers, pause: 10, ...patient })
  })
  // Ten in three.
  const tails = [4, 3, 3].map((subscribers, i) => {
    const name = `tail${i}`
    const how = { name, seen: file(name), subscribers, prepare: i === 0, ...patient }
    return new Tail(through, i === 2 ? { ...how, categories: ['guard', 'shared'] } : how)
  })
  await underWay(writers, tails)

  let isOver = false
  let [terminated, undone] = [0, 0]
  const client = await database.client()
  const givingUp = (async () => {
    for (; !isOver; undone++) {
      await client.query('BEGIN ISOLATION LEVEL READ COMMITTED')
      await client.query("SELECT mneme.append_one($1, -3, $2, 5000, $2, 'Happened', 1, '{}', '{}')", [
        'undone',
        crypto.randomUUID(),
      ])
      await delay(Math.random() * 50)
      await client.query('ROLLBACK')
    }
  })()
  for (let second = 0; second < seconds; second++) {
    await delay(500)
    const [row] = await database.query(
      `SELECT count(pg_terminate_backend(pid))::int AS terminated FROM (
        SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'writer%'
          ORDER BY random() LIMIT 2) victims`,
    )
    terminated += row!.terminated as number
    await delay(500)
    proxy.cut()
  }
  isOver = true
  await givingUp

  const run = await stop(server(), url, { writers, tails })
  const { log, ledgers, unknown, differences } = run
  const subscribed = run.failures as Subscribed[]
  const sum = (of: (what: Subscribed) => number) => subscribed.reduce((all, what) => all + of(what), 0)
  console.log(
    `subscribe (PostgreSQL ${server().major}): ${log.length} events, ${sum(({ parts }) => parts)} subscribers ` +
      `that were given ${sum(({ given }) => given)}, ${sum(({ interruptions }) => interruptions)} interruptions, ` +
      `${unknown} unknown, ${terminated} backends terminated, ${undone} appends undone, ${seconds} s`,
  )
  expect(ledgers.check(log).slice(0, 20)).toEqual([])
  expect(differences).toEqual(tails.map(() => none))
  expect(subscribed.map(({ failures, wrong }) => ({ failures, wrong }))).toEqual(
    tails.map(() => ({ failures: {}, wrong: 0 })),
  )
  expect(sum(({ parts }) => parts)).toBeGreaterThan(seconds)
  expect(sum(({ given }) => given)).toBeGreaterThan(seconds)
  expect(log.length).toBeGreaterThan(seconds * 10)
})
