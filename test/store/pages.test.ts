import { expect, test } from 'vitest'
import { defineAggregate, event, InvalidArgumentError, StoreClosedError } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { gate, observedStore, settle, times } from '../support/observed-store.ts'

const happened = times(5, (n) => ({ type: 'Happened', data: { n } }))

test('a page has 1,000 events unless its caller says otherwise', async () => {
  const store = memoryStore()
  await store.append({ stream: 'a', events: times(1_500, (n) => ({ type: 'Happened', data: { n } })) })
  const page = await store.readPage('a')
  expect([page.events.length, page.head, page.next]).toEqual([1_000, 1_499, 1_000])
  const last = await store.readPage('a', { from: page.next })
  expect([last.events.length, last.next]).toEqual([500, undefined])
  const all = await store.readAllPage()
  expect([all.events.length, all.next]).toEqual([1_000, page.events.at(-1)?.position])
  const rest = await store.readAllPage({ after: all.next, limit: Number.MAX_SAFE_INTEGER })
  expect([rest.events.length, rest.head]).toEqual([500, last.events.at(-1)?.position])
})

test('what is appended after the head was read is not in the page', async () => {
  const store = observedStore()
  await store.append({ stream: 'a', events: happened })
  store.beforeRead = () => store.stranger.append({ stream: 'a', events: happened })
  const forwards = await store.readPage('a')
  expect([forwards.events.length, forwards.head]).toEqual([5, 4])
  const backwards = await store.readPage('a', { direction: 'backwards', limit: 2 })
  expect([backwards.events.map(({ revision }) => revision), backwards.head]).toEqual([[9, 8], 9])
})

test('the events of a page of an aggregate come under their current names and versions', async () => {
  const Door = defineAggregate({
    name: 'Door',
    events: {
      Shut: event<{ by: string; gently: boolean }>()
        .formerly('Door.Closed')
        .next((old: { by: string }) => ({ ...old, gently: false })),
    },
    initial: () => 0,
    apply: { Shut: (n) => n + 1 },
  })
  const store = memoryStore()
  await store.append({ stream: 'Door-a', events: [{ type: 'Door.Closed', data: { by: 'A' } }] })
  const [shut] = (await store.readPage(Door('a'))).events
  expect(shut).toMatchObject({ type: 'Door.Shut', data: { by: 'A', gently: false } })
  expect((await store.readPage('Door-a')).events[0]?.type).toBe('Door.Closed')
})

test('a page that is given up ends at once', async () => {
  const store = observedStore()
  await store.append({ stream: 'a', events: happened })
  const mine = new Error('given up')
  const aborted = { signal: AbortSignal.abort(mine) }
  await expect(store.readPage('a', aborted)).rejects.toBe(mine)
  await expect(store.readAllPage(aborted)).rejects.toBe(mine)
  expect(() => store.streams(aborted)).not.toThrow()
  await expect(store.streams(aborted).next()).rejects.toBe(mine)
  expect(store.reads).toEqual([])
  const reading = gate()
  store.beforeRead = () => reading.passed
  const controller = new AbortController()
  const page = store.readPage('a', { signal: controller.signal })
  await settle()
  controller.abort(mine)
  await expect(page).rejects.toBe(mine)
  reading.open()
})

test('wrong options reject, and a closed store is refused', async () => {
  const store = memoryStore()
  await expect(store.readPage('a', { form: 1 } as never)).rejects.toThrow(InvalidArgumentError)
  await store.close()
  await expect(store.readPage('a')).rejects.toThrow(StoreClosedError)
  await expect(store.readAllPage()).rejects.toThrow(StoreClosedError)
  await expect(store.streams().next()).rejects.toThrow(StoreClosedError)
})
