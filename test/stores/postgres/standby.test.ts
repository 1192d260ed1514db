import { spawnSync } from 'node:child_process'
import { appendFileSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Position } from 'mneme'
import { postgresStore } from 'mneme/postgres'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'

import { happened, historyOf } from '../sqlite/history.ts'
import { sleep, testDatabase, until } from './database.ts'
import { Worker } from './processes.ts'
import { Daemon } from './daemon.ts'
import { Subscriber } from './subscriber.ts'
import { freePort, ownServerProblem, startServer, systemBinaries, type TestServer } from './server.ts'

interface Standby {
  url(database: string): string
  destroy(): Promise<void>
}

/** A server that follows another one: a copy of its data, made while it was stopped. */
async function startStandby(primary: TestServer): Promise<Standby> {
  const pid = readFileSync(join(primary.dataFolder, 'postmaster.pid'), 'utf8').split('\n')[0]!
  const postgres = readlinkSync(`/proc/${pid}/exe`)
  await primary.stop()
  const daemon = new Daemon('standby')
  const data = join(daemon.folder, 'data')
  spawnSync('cp', ['-a', primary.dataFolder, data])
  await primary.start()
  const port = await freePort()
  const conninfo = `host=127.0.0.1 port=${primary.port} user=postgres password=${primary.password}`
  appendFileSync(join(data, 'postgresql.conf'), `\nport = ${port}\nprimary_conninfo = '${conninfo}'\n`)
  spawnSync('cp', ['-a', join(data, 'PG_VERSION'), join(data, 'standby.signal')])
  const url = (database: string) => {
    const its = new URL(primary.url(database))
    its.port = String(port)
    return its.href
  }
  await daemon.start(postgres, ['-D', data], async () => {
    const client = new pg.Client(url('postgres'))
    client.on('error', () => undefined)
    return client.connect().then(
      () => client.end().then(() => true),
      () => false,
    )
  })
  return {
    url,
    destroy: async () => {
      await daemon.stop('SIGQUIT')
      daemon.remove()
    },
  }
}

const system = systemBinaries()
const servers: [name: string, problem: string | undefined, binaries: string | undefined][] = [
  ['the newest PostgreSQL', ownServerProblem, undefined],
  ["the system's PostgreSQL", system ? undefined : 'there is none', system?.folder],
]

describe.each(servers)('a standby of %s', (_, problem, binaries) => {
  let primary: TestServer
  let standby: Standby

  beforeAll(async () => {
    if (problem !== undefined) return
    primary = await startServer(binaries === undefined ? {} : { binaries })
    standby = await startStandby(primary)
  })
  afterAll(async () => {
    await (standby as Standby | undefined)?.destroy()
    await (primary as TestServer | undefined)?.destroy()
  })

  /** Resolves when the standby has a store in that database. */
  const caughtUp = (name: string) =>
    until(async () => {
      const client = new pg.Client(standby.url(name))
      client.on('error', () => undefined)
      try {
        await client.connect()
        return (await client.query('SELECT FROM mneme.meta')).rowCount! > 0
      } catch {
        return false
      } finally {
        await client.end()
      }
    }, 'the standby has the store')

  test.skipIf(problem)(
    'a standby is read while eight callers write on the primary, and no event is missed',
    async () => {
      const database = await testDatabase(primary)
      const writer = await database.open({ standbys: true })
      await caughtUp(database.name)
      const store = await postgresStore(standby.url(database.name))
      onTestFinished(() => store.close())
      expect(await store.identity()).toBe(await writer.identity())
      await expect(store.append({ stream: 's', events: [happened()] })).rejects.toMatchObject({
        code: 'STORE_UNAVAILABLE',
        isRetryable: true,
      })

      const subscribers = [{}, { streams: ['s-1'] }].map((options) => new Subscriber(store, options))
      const workers = [1, 2].map(() => new Worker('append', database.url, 8, 60, 20))
      const ended = Promise.all(workers.map((worker) => worker.ended))
      let isOver = false
      void ended.then(() => (isOver = true))
      const seen: string[] = []
      const positions: Position[] = []
      let after: Position | undefined
      let looks = 0
      const readOn = async () => {
        const before = seen.length
        for await (const { id, position } of store.readAll(after === undefined ? {} : { after })) {
          seen.push(id)
          positions.push((after = position))
        }
        if (seen.length > before) looks++
      }
      while (!isOver) {
        await readOn()
        await sleep(1)
      }
      expect(await ended).toEqual([0, 0])
      const all = await historyOf(writer)
      expect(all).toHaveLength(2 * 8 * 60)
      // Nobody appends any more: the rest comes by itself.
      await until(async () => (await readOn(), seen.length >= all.length), 'the standby has all')
      expect(seen).toEqual(all.map(({ id }) => id))
      expect(looks).toBeGreaterThan(2)
      expect(positions).toEqual(positions.toSorted())
      expect(await store.logHead()).toBe(all.at(-1)!.position)
      const found: string[] = []
      for await (const { id } of store.readAll({
        categories: ['s'],
        streams: ['s-1'],
        types: ['Happened'],
        direction: 'backwards',
      }))
        found.push(id)
      expect(found).toEqual(seen.toReversed())
      expect(await store.head('s-1')).toBe(await writer.head('s-1'))
      // It cannot listen, and is polled.
      const ofStream = all.filter(({ stream }) => stream === 's-1').map(({ id }) => id)
      for (const [i, ids] of [seen, ofStream].entries()) {
        await subscribers[i]!.has(ids.length)
        await subscribers[i]!.subscription.caughtUp()
        expect(await subscribers[i]!.stop()).toEqual(ids)
      }
      expect(subscribers.flatMap(({ interruptions }) => interruptions)).toEqual([])
    },
  )

  test.skipIf(problem)(
    'a standby cannot be read unless a writer notes how far the log is complete',
    async () => {
      const database = await testDatabase(primary)
      const writer = await database.open()
      await writer.append({ stream: 's', events: [happened()] })
      await caughtUp(database.name)
      const store = await postgresStore(standby.url(database.name))
      onTestFinished(() => store.close())
      await expect(historyOf(store)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
      await expect(store.logHead()).rejects.toThrow('standbys: true')
      const subscriber = new Subscriber(store)
      await until(() => subscriber.interruptions.length > 1, 'it is told so, and goes on trying')
      // A stream needs no order of the whole log.
      expect(await store.head('s')).toBe(0)
      await expect(postgresStore(standby.url(database.name), { schema: 'other' })).rejects.toMatchObject({
        code: 'CANNOT_OPEN',
        reason: 'read-only',
      })
      const noting = await database.open({ standbys: true })
      await noting.append({ stream: 's', events: [happened()] })
      await until(
        () =>
          historyOf(store).then(
            ({ length }) => length === 2,
            () => false,
          ),
        'the standby has all',
      )
      await subscriber.has(2)
    },
  )

  test.skipIf(problem)(
    'a position that a standby has not replayed yet is not taken for a rewound history',
    async () => {
      const database = await testDatabase(primary)
      const writer = await database.open({ standbys: true })
      await writer.append({ stream: 's', events: [happened(0)] })
      await caughtUp(database.name)
      const store = await postgresStore(standby.url(database.name))
      onTestFinished(() => store.close())
      const known = new Subscriber(store)
      await known.has(1)
      const control = new pg.Client(standby.url(database.name))
      await control.connect()
      onTestFinished(() => control.end())
      await control.query('SELECT pg_wal_replay_pause()')
      onTestFinished(() => control.query('SELECT pg_wal_replay_resume()').then(() => undefined))
      const first = await writer.append({ stream: 's', events: [happened(1)] })
      await writer.append({ stream: 's', events: [happened(2)] })
      const from = first.position!
      const early = new Subscriber(store, { from })
      await until(() => early.interruptions.length > 0, 'the subscription waits for the standby', 60_000)
      expect(early.interruptions[0]).toMatchObject({ code: 'STORE_UNAVAILABLE', isRetryable: true })
      expect(early.seen).toEqual([])
      await control.query('SELECT pg_wal_replay_resume()')
      await known.has(3)
      const late = new Subscriber(store, { from })
      for (const subscriber of [early, late]) {
        await subscriber.has(1)
        expect(subscriber.ids).toEqual(known.ids.slice(2))
      }
      const beyond = `${'0'.repeat(from.length - 15)}${'9'.repeat(15)}`
      const waiting = new Subscriber(store, { from: beyond })
      await until(() => waiting.interruptions.length > 1, 'a position beyond the log is waited for', 60_000)
      expect(await waiting.stop()).toEqual([])
    },
  )
})
