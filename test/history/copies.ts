import { expect } from 'vitest'
import { type EventStore, type Recorded, StreamDeletedError, StreamTruncatedError } from 'mneme'
import { compareHistories, copyHistory, followHistory } from 'mneme/history'

export const fact = (n = 0) => ({ type: 'Fact.Stated', data: { n, text: 'é' } })

/** A history with everything that a copy has to carry. */
export async function writeHistory(store: EventStore): Promise<void> {
  await store.append({ stream: 'Fact-a', events: [fact(1), fact(2), fact(3), fact(4)] }, { key: 'first' })
  await store.append(
    [
      { stream: 'Fact-b', events: [{ ...fact(5), version: 3 }] },
      { stream: 'Fact-a', events: [fact(6)] },
      { stream: 'Fact-b', events: [fact(7)] },
    ],
    { key: 'both', metadata: { actor: 'eve', correlation: 'c' } },
  )
  await store.append({ stream: 'Fact-gone', events: [fact(8), fact(9)] })
  await store.append({ stream: 'Fact-cut', events: [fact(10), fact(11), fact(12)] })
  await store.truncate('Fact-cut', { before: 2, metadata: { actor: 'eve' } })
  await store.delete('Fact-gone')
  await store.append({ stream: 'Fact-cut', events: [fact(13)] })
  await store.append({ stream: 'Fact-emptied', events: [fact(14)] })
  await store.truncate('Fact-emptied', { before: 1 })
  await store.append({ stream: 'Fact-emptied', events: [fact(15)] })
}

/** The events of a store without their positions. */
export async function recordedIn(store: EventStore): Promise<Omit<Recorded, 'position'>[]> {
  const events: Omit<Recorded, 'position'>[] = []
  for await (const { position: _, ...event } of store.readAll()) events.push(event)
  return events
}

/** Copies a history from one store into another, in full, again, and live; both are empty at first. */
export async function checkCopying(from: EventStore, to: EventStore): Promise<void> {
  await writeHistory(from)
  const first = await copyHistory(from, to, { verify: true })
  expect(first.comparison).toMatchObject({ isSame: true, differences: [], keys: 2 })
  expect(first).toMatchObject({ keys: 2, erasures: 3, resumedAfter: undefined, fraction: 1 })
  await expect(to.head('Fact-gone')).rejects.toThrow(StreamDeletedError)
  expect(await to.head('Fact-emptied')).toBe(1)
  expect((await to.readPage('Fact-cut')).events.map(({ revision }) => revision)).toEqual([2, 3])
  // A client's retry.
  const retried = await to.append(
    [
      { stream: 'Fact-b', events: [{ ...fact(5), version: 3 }] },
      { stream: 'Fact-a', events: [fact(6)] },
      { stream: 'Fact-b', events: [fact(7)] },
    ],
    { key: 'both' },
  )
  expect(retried.repeated).toBe(true)

  const again = await copyHistory(from, to)
  expect(again).toMatchObject({ appended: 0, read: 0, resumedAfter: await from.logHead() })

  const copy = followHistory(from, to)
  await copy.caughtUp()
  for (let n = 0; n < 5; n++)
    await from.append({ stream: 'Fact-live', events: [fact(n)] }, { key: `live ${String(n)}` })
  await from.truncate('Fact-a', { before: 4 })
  await copy.caughtUp()
  expect(await to.head('Fact-live')).toBe(4)
  const { appended, keys } = await copy.stop()
  expect([appended, keys]).toEqual([5, 5])
  expect(await compareHistories(from, to)).toMatchObject({ isSame: true, keys: 7 - 1 })
  const retry = to.append(
    { stream: 'Fact-a', events: [fact(1), fact(2), fact(3), fact(4)] },
    { key: 'first' },
  )
  // KurrentDB answers with the erased events until it is scavenged.
  if (to.capabilities.erasesAtOnce) await expect(retry).rejects.toThrow(StreamTruncatedError)
  else expect(await retry).toMatchObject({ repeated: true })
}
