import type { EventStore, Position, Recorded } from 'mneme'
import { describe, expect, test } from 'vitest'

import { happened, historyOf } from '../sqlite/history.ts'
import { testDatabase, sleep, until } from './database.ts'
import { begin } from './open-append.ts'
import { serverProblem } from './server.ts'

/** Follows the log as a subscriber would, from one checkpoint to the next. */
class Follower {
  readonly seen: Recorded[] = []
  readonly #store: EventStore
  #isOver = false
  readonly #done: Promise<void>

  constructor(store: EventStore) {
    this.#store = store
    this.#done = this.#run()
    this.#done.catch(() => undefined)
  }

  async #run(): Promise<void> {
    let after: Position | undefined
    for (;;) {
      const isLast = this.#isOver
      for await (const event of this.#store.readAll(after === undefined ? {} : { after })) {
        after = event.position
        this.seen.push(event)
      }
      if (isLast) return
      await sleep(2)
    }
  }

  async stop(): Promise<Recorded[]> {
    this.#isOver = true
    await this.#done
    return this.seen
  }
}

describe.skipIf(serverProblem)('readers while appends are under way', () => {
  test('an append that is not committed holds back the events after it, and none is missed', async () => {
    const database = await testDatabase()
    const [writer, reader] = [await database.open(), await database.open()]
    await writer.append({ stream: 'first', events: [happened()] })
    const follower = new Follower(reader)
    const open = await begin(database, 'early')
    const early = await open.append()
    const late = await writer.append({ stream: 'late', events: [happened()] })
    await sleep(50)
    expect(follower.seen.map(({ stream }) => stream)).toEqual(['first'])
    // A stream of its own is not held back.
    expect(await reader.head('late')).toBe(0)
    expect(await reader.logHead()).toBe(follower.seen[0]!.position)
    await open.end('COMMIT')
    await until(() => follower.seen.length === 3, 'the reader sees both')
    const seen = await follower.stop()
    expect(seen.map(({ id }) => id).slice(1)).toEqual([early, late.events[0]!.id])
  })

  test('a transaction that began early and appends late comes late', async () => {
    const database = await testDatabase()
    const [writer, reader] = [await database.open(), await database.open()]
    const follower = new Follower(reader)
    const open = await begin(database, 'late')
    // It has a transaction id, and a snapshot, before.
    await database.query('CREATE TABLE public.mine (x int)')
    for (let i = 0; i < 5; i++) await writer.append({ stream: 'early', events: [happened(i)] })
    await until(() => follower.seen.length === 5, 'an open transaction holds nobody back')
    const late = await open.append()
    await writer.append({ stream: 'early', events: [happened(5)] })
    await sleep(30)
    expect(follower.seen).toHaveLength(5)
    await open.end('COMMIT')
    await until(() => follower.seen.length === 7, 'all are seen')
    expect((await follower.stop()).map(({ id }) => id)[5]).toBe(late)
  })

  test('an append that is rolled back, or whose backend is ended, is not waited for', async () => {
    const database = await testDatabase()
    const [writer, reader] = [await database.open(), await database.open()]
    const follower = new Follower(reader)
    for (const end of ['rollback', 'terminate'] as const) {
      const before = follower.seen.length
      const open = await begin(database, 'given-up')
      const id = await open.append()
      await writer.append({ stream: 's', events: [happened()] })
      await sleep(20)
      expect(follower.seen).toHaveLength(before)
      if (end === 'rollback') await open.end('ROLLBACK')
      else await database.query(`SELECT pg_terminate_backend(${open.pid})`)
      await until(() => follower.seen.length === before + 1, 'what comes after it is seen')
      expect(follower.seen.map((event) => event.id)).not.toContain(id)
      // Nor is its stream held.
      await writer.append({ stream: 'given-up', events: [happened()] })
      await until(() => follower.seen.length === before + 2, 'that one is seen, too')
    }
    await follower.stop()
  })

  test('transactions that append nothing are not waited for', async () => {
    const database = await testDatabase()
    const store = await database.open()
    await database.query('CREATE TABLE public.mine (x int)')
    const strangers = await Promise.all(
      ['READ COMMITTED', 'SERIALIZABLE'].map(async (level) => {
        const client = await database.client()
        await client.query(`BEGIN ISOLATION LEVEL ${level}`)
        await client.query('INSERT INTO public.mine VALUES (1)')
        await client.query('SELECT pg_advisory_xact_lock_shared(1), pg_advisory_xact_lock_shared(1, 2)')
        return client
      }),
    )
    for (let i = 0; i < 5; i++) {
      const { position } = await store.append({ stream: 's', events: [happened(i)] })
      expect(await store.logHead()).toBe(position)
      expect(await historyOf(store)).toHaveLength(i + 1)
    }
    for (const client of strangers) await client.query('ROLLBACK')
  })

  test('a process waits up to busyTimeout to read what it was acknowledged', async () => {
    const database = await testDatabase()
    const store = await database.open({ busyTimeout: 300 })
    const patient = await database.open()
    const open = await begin(database, 'early')
    const early = await open.append()
    await store.append({ stream: 'mine', events: [happened()] })
    const mine = await patient.append({ stream: 'mine', events: [happened()] })
    await expect(historyOf(store)).rejects.toMatchObject({ code: 'STORE_BUSY', isRetryable: true })
    await expect(store.logHead()).rejects.toMatchObject({ code: 'STORE_BUSY' })
    const reading = historyOf(patient)
    await sleep(50)
    await open.end('COMMIT')
    const history = await reading
    expect(history.map(({ id }) => id)[0]).toBe(early)
    expect(history.at(-1)!.id).toBe(mine.events[0]!.id)
    expect(await historyOf(store)).toEqual(history)
  })

  test('followers see each event once and in order while writers roll back and lose backends', async () => {
    const database = await testDatabase()
    const stores = await Promise.all([1, 2, 3].map(() => database.open({}, { max: 5 })))
    const followers = await Promise.all(
      [1, 2].map(async () => new Follower(await database.open({}, { max: 2 }))),
    )
    let isOver = false
    let appends = 0
    const work = [
      ...stores.flatMap((store, s) =>
        Array.from({ length: 8 }, async (_, w) => {
          for (let i = 0; !isOver; i++) {
            appends++
            const events = Array.from({ length: 1 + (i % 3) }, () => happened(i))
            await store.append([
              { stream: `s${s}-${w}`, events },
              { stream: `shared-${i % 4}`, events: [happened()] },
            ])
          }
        }),
      ),
      ...[0, 1, 2].map(async (n) => {
        for (let i = 0; !isOver; i++) {
          const open = await begin(database, `own-${n}`)
          await open.append()
          await sleep(i % 7)
          if (i % 3 === 2) await database.query(`SELECT pg_terminate_backend(${open.pid})`)
          else await open.end(i % 3 === 0 ? 'COMMIT' : 'ROLLBACK')
        }
      }),
    ]
    await until(() => appends >= 600, 'enough is appended', 25_000)
    isOver = true
    await Promise.all(work)
    const rows = await database.query(
      'SELECT e.position::text, e.id::text FROM mneme.events e ORDER BY e.position',
    )
    // A backend that was ended may still hold its place in the order for a moment.
    await until(
      () => followers.every(({ seen }) => seen.length >= rows.length),
      'followers have seen all',
      60_000,
    )
    const seen = await Promise.all(followers.map((follower) => follower.stop()))
    expect(rows.length).toBeGreaterThan(100)
    for (const events of seen) {
      expect(events.map(({ id }) => id)).toEqual(rows.map(({ id }) => id))
      expect(events.map(({ position }) => BigInt(position).toString())).toEqual(
        rows.map(({ position }) => position),
      )
    }
  })
})
