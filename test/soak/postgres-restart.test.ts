import { setTimeout as delay } from 'node:timers/promises'
import { readFileSync } from 'node:fs'
import { postgresStore } from 'mneme/postgres'
import { expect } from 'vitest'

import { differences, Ledgers, none, storedIn } from './postgres/ledger.ts'
import { Tail, Writer } from './postgres/processes.ts'
import { stop, underWay } from './postgres/run.ts'
import { calm, ledgerFolder, rounds, settlements, soakServer, test } from './postgres/soak.ts'

const server = soakServer()

test('crashes of the server amid 64 callers: work goes on by itself', async () => {
  const url = await server().createDatabase()
  const file = ledgerFolder()
  await (await postgresStore(url)).close()
  const started = performance.now()

  const settings = { pause: 5, connectTimeout: 10_000, busyTimeout: 20_000, statementTimeout: 60_000 }
  const writers = [64, 16].map((callers, i) => {
    const name = `writer${i}`
    return new Writer(url, { ...settings, name, ledger: file(name), callers, prepare: i === 1 })
  })
  const tails = ['tail0', 'tail1'].map((name) => new Tail(url, { ...settings, name, seen: file(name) }))
  await underWay(writers, tails)

  /** Until each writer was acknowledged so many appends more. */
  const goOn = async () => {
    const counts = () => writers.map(({ ledger }) => acknowledgedIn(ledger))
    const before = counts()
    while (!counts().every((count, i) => count > before[i]! + 30)) await delay(100)
  }
  let restarts = 0
  for (const _ of rounds({ full: 5, brief: 2 })) {
    restarts++
    await goOn()
    await delay(Math.random() * 2_000)
    await server().restart('immediate')
  }
  await goOn()

  const { log, ledgers, unknown, failures, differences } = await stop(server(), url, { writers, tails })
  const seconds = Math.round((performance.now() - started) / 1000)
  console.log(
    `restart (PostgreSQL ${server().major}): ${ledgers.acknowledged} acknowledged, ${ledgers.settled} found committed, ` +
      `${await settlements(server(), url)} settlements, ` +
      `${ledgers.refused} refused, ${unknown} unknown, ${log.length} events, ${restarts} restarts, ${seconds} s`,
    Object.fromEntries(ledgers.failures),
    Object.fromEntries(ledgers.unknown),
    failures,
  )
  expect(ledgers.check(log).slice(0, 20)).toEqual([])
  expect([...ledgers.failures.keys()].filter((failure) => !failure.startsWith('STORE_UNAVAILABLE'))).toEqual(
    [],
  )
  const other = failures.flatMap((tail) => Object.keys(tail.failures))
  expect(other.filter((failure) => !failure.startsWith('STORE_UNAVAILABLE'))).toEqual([])
  expect(differences).toEqual(tails.map(() => none))
})

test('round after round of SIGKILL to a writer: what was acknowledged is there, whole and once', async () => {
  const url = await server().createDatabase()
  const file = ledgerFolder()
  await (await postgresStore(url)).close()
  const started = performance.now()

  const tail = new Tail(url, { name: 'tail', seen: file('tail'), busyTimeout: 20_000 })
  const steady = new Writer(url, {
    name: 'writer',
    ledger: file('steady'),
    callers: 8,
    pause: 5,
    busyTimeout: 25_000,
  })
  await Promise.all([tail.said('reading'), steady.said('writing')])
  const ledgers = [steady.ledger]
  let kills = 0
  for (const round of rounds({ full: 20, brief: 5 })) {
    kills++
    const name = `writer-${round}`
    const writer = new Writer(url, { name, ledger: file(name), callers: 16, pause: 0, busyTimeout: 25_000 })
    await writer.said('writing')
    while (acknowledgedIn(writer.ledger) === 0) await delay(5)
    await delay(Math.random() * 200)
    writer.child.kill('SIGKILL')
    await writer.ended
    ledgers.push(writer.ledger)
  }
  steady.say('stop')
  await steady.result()
  await calm(server(), url)
  tail.say('stop')
  expect(await tail.result()).toEqual({ failures: {} })

  const log = await storedIn(server(), url)
  const ledger = new Ledgers(ledgers)
  const ids = new Set(log.map(({ id }) => id))
  const unheard = ledger.unheard(ids)
  const seconds = Math.round((performance.now() - started) / 1000)
  console.log(
    `kill (PostgreSQL ${server().major}): ${ledger.acknowledged} acknowledged, ${unheard} committed but not acknowledged, ` +
      `${log.length} events, ${kills} processes killed, ${seconds} s`,
  )
  expect(ledger.check(log).slice(0, 20)).toEqual([])
  expect(Object.fromEntries(ledger.failures)).toEqual({})
  expect(differences(tail, log)).toEqual(none)
  expect(ledger.acknowledged).toBeGreaterThan(kills)
})

function acknowledgedIn(ledger: string): number {
  return readFileSync(ledger, 'utf8').split('{"a":').length - 1
}
