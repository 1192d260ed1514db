import { describe, expect, onTestFinished, test } from 'vitest'
import { Calls } from '../../../src/stores/kurrentdb/connection.ts'
import { type KurrentRecorded, makeClient } from '../../../src/stores/kurrentdb/driver.ts'
import { loadDriverParts } from '../../../src/stores/kurrentdb/driver-internals.ts'
import { LiveFeed } from '../../../src/stores/kurrentdb/subscribe.ts'
import { Locator } from '../../../src/stores/kurrentdb/locate.ts'
import { Reader } from '../../../src/stores/kurrentdb/read.ts'
import type { LogPlace, StoredEvent } from '../../../src/adapter/store-adapter.ts'
import { appendOf, behindProxy, happened, logOf, times, unique, until, where } from './rig.ts'

describe(`what a subscription of the server has brought, ${where}`, () => {
  test('is given from any place since it began, whoever comes from there; or else why it has ended', async () => {
    const { proxy, through, direct } = await behindProxy(2_000)
    const client = await makeClient(through)
    const calls = new Calls(client, { deadline: 2_000, requiresLeader: true }, await loadDriverParts(client))
    onTestFinished(() => calls.close())
    const [asked, other] = [unique('asked'), unique('other')]
    const write = async (stream: string) => {
      await direct.append(
        appendOf(
          { [stream]: 'any' },
          times(5, () => happened(stream)),
        ),
      )
      const position = (await direct.logHead())!
      return { position, id: (await direct.idAt(position))! }
    }
    const before = await write(asked)
    const start = await write(other)
    const filter = { streams: [asked], categories: undefined, types: undefined }
    const places: LogPlace[] = [start]
    for (const stream of [asked, other, asked, other, other, asked, other]) places.push(await write(stream))
    // Where much is going on, several come at once, as one page.
    const follow = calls.follow.bind(calls)
    calls.follow = async function* (...asked) {
      const records: KurrentRecorded[] = []
      for await (const followed of follow(...asked)) {
        records.push(...followed.records)
        if (records.length >= 3) yield { ...followed, records: records.splice(0) }
      }
      return undefined
    }
    const feed = new LiveFeed(
      calls,
      new Locator(calls, new Reader(calls)),
      { after: start, ...filter },
      () => undefined,
    )
    onTestFinished(() => {
      feed.close()
    })
    const log = await logOf(direct, [asked], start.position)
    const behind = (after: LogPlace): readonly StoredEvent[] | undefined =>
      feed.take({ after, ...filter })?.flatMap(({ events }) => events)
    await until(() => behind(start)?.length === log.length, 'all has come')
    for (const after of [...places, ...log]) {
      expect(behind(after)).toEqual(log.filter(({ position }) => position > after.position))
    }
    expect(behind(before)).toBeUndefined()
    expect(feed.take({ after: start, ...filter, streams: [asked] })).toBeUndefined()
    expect(behind({ ...places[3]!, id: crypto.randomUUID() })).toBeUndefined()

    proxy.cut()
    const failed = () => {
      try {
        return behind(places[4]!) === undefined
      } catch (error) {
        return (error as { code?: unknown }).code === 'STORE_UNAVAILABLE'
      }
    }
    await until(failed, 'it has ended')
    for (const after of [before, ...places]) expect(() => behind(after)).toThrow()
  })
})
