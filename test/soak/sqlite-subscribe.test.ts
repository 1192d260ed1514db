import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { EventStore } from 'mneme'
import { sqliteStore } from 'mneme/sqlite'
import { describe, expect, test } from 'vitest'

import { drivers } from '../stores/sqlite/drivers.ts'
import { testFolder } from '../stores/sqlite/folder.ts'
import { historyOf } from '../stores/sqlite/history.ts'
import { Worker } from '../stores/sqlite/processes.ts'
import { isBrief } from '../support/soak.ts'

const seconds = isBrief ? 5 : 40
const subscribers = 10
/** Callers in each of the processes that write. */
const writers = [3, 3, 2, 2]

describe.each(drivers)('subscribers beside killed writers with $name', ({ name, driver }) => {
  test(`${seconds} s: whoever starts and stops anywhere sees what the log holds`, async () => {
    const file = join(testFolder(), 'bank.db')
    const store = await sqliteStore(file, { driver, synchronous: 'normal' })
    let started = 0
    const begin = (callers: number) => new Worker('write', name, file, `w${started++}`, callers)
    const writing = writers.map(begin)
    await Promise.all(writing.map((worker) => worker.said('writing')))

    let isOver = false
    const seen: Seen[] = []
    const following = Array.from({ length: subscribers }, async () => {
      while (!isOver) seen.push(await followed(store, () => isOver))
    })
    const end = performance.now() + seconds * 1_000
    let killed = 0
    for (; performance.now() < end; killed++) {
      await delay(Math.random() * 800)
      const i = Math.floor(Math.random() * writing.length)
      writing[i]!.child.kill('SIGKILL')
      writing[i] = begin(writers[i]!)
      await writing[i].said('writing')
    }
    for (const worker of writing) worker.say('stop')
    expect(await Promise.all(writing.map((worker) => worker.ended))).toEqual(writing.map(() => 0))
    // Whoever goes on to the end has all of it.
    const last = store.subscribe()
    const all: string[] = []
    const reading = (async () => {
      for await (const { id } of last) all.push(id)
    })()
    await last.caughtUp()
    await last.return?.()
    await reading
    isOver = true
    await Promise.all(following)

    const log = (await historyOf(store)).map(({ id }) => id)
    await store.close()
    expect(all).toEqual(log)
    const at = new Map(log.map((id, i) => [id, i]))
    for (const { after, ids } of seen) {
      const start = after === undefined ? (at.get(ids[0] ?? '') ?? 0) : at.get(after)! + 1
      expect(log.slice(start, start + ids.length)).toEqual(ids)
    }
    const events = seen.reduce((sum, { ids }) => sum + ids.length, 0)
    console.log(
      `${log.length} events, ${killed} processes killed; ${seen.length} subscriptions were given ${events} events`,
    )
    expect(events).toBeGreaterThan(0)
  })
})

/** What a subscription was given. */
interface Seen {
  /** The event behind which it began; `undefined` where that was the end. */
  readonly after: string | undefined
  readonly ids: readonly string[]
}

/** Begins anywhere, and stops after a while or a number of events. */
async function followed(store: EventStore, isOver: () => boolean): Promise<Seen> {
  const place = Math.random() < 0.3 ? undefined : await randomPlace(store)
  const ids: string[] = []
  const ending = new AbortController()
  const most = Math.ceil(Math.random() * 5_000)
  const timer = setTimeout(() => ending.abort(), Math.random() * 3_000)
  const subscription = store.subscribe({ from: place?.position ?? 'end', signal: ending.signal })
  for await (const { id } of subscription) {
    ids.push(id)
    if (ids.length >= most || isOver()) break
    // Some are slow.
    if (most % 3 === 0 && ids.length % 50 === 0) await delay(5)
  }
  clearTimeout(timer)
  return { after: place?.id, ids }
}

async function randomPlace(store: EventStore) {
  const head = await store.logHead()
  if (head === undefined) return undefined
  for await (const event of store.readAll({
    direction: 'backwards',
    limit: Math.ceil(Math.random() * 2_000),
  })) {
    if (Math.random() < 0.002) return event
  }
  return undefined
}
