import { createReadStream, mkdtempSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execute, InvalidArgumentError, load, StreamDeletedError, subject } from 'mneme'
import { eraseSubject, repeatErasures, reveal } from 'mneme/erasure'
import { archiveStream, eventsInArchive, type ExportedEvent, exportEvents, importEvents } from 'mneme/history'
import { memoryStore } from 'mneme/memory'
import { expect, onTestFinished, test } from 'vitest'

import { eventsOf } from '../support/observed-store.ts'
import { changeEmail, Customer, MARKER, register, ringOf } from '../erasure/customers.ts'

const ada = { id: 'c-1', plan: 'basic', email: MARKER }

test('E1: personal values are imported as they are sealed, and open under the same keys', async () => {
  const personal = ringOf()
  const [from, to] = [memoryStore({ personal }), memoryStore({ personal })]
  await execute(from, register(ada), { key: 'once' })
  await execute(from, changeEmail({ id: 'c-1', email: `new ${MARKER}` }))
  await eraseSubject(from, subject('customer', 'c-2'))
  const exported: unknown[] = []
  for await (const event of exportEvents(from)) exported.push(event)
  expect(JSON.stringify(exported)).not.toContain(MARKER)
  expect(await importEvents(to, exported as never)).toMatchObject({ appended: 3, keys: 1 })
  expect(await importEvents(to, JSON.parse(JSON.stringify(exported)) as never)).toMatchObject({
    ...{ appended: 0, present: 3 },
  })
  const { state } = await load(to, Customer('c-1'))
  expect(await reveal(to, state.email)).toBe(`new ${MARKER}`)
  expect(await execute(to, register(ada), { key: 'once' })).toMatchObject({ repeated: true })
})

test('an archive in a file is durable before its stream is deleted, and can be imported elsewhere', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mneme-archive-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'tale.jsonl')
  const store = memoryStore()
  // More than what is handed over at once.
  const events = Array.from({ length: 3_000 }, (_, n) => ({
    type: 'Tale.Told',
    data: { n, text: 'é'.repeat(50) },
  }))
  await store.append({ stream: 'Tale-1', events })
  const file = await open(path, 'wx')
  let calls = 0
  const { events: archived, head } = await archiveStream(store, 'Tale-1', {
    to: async (lines) => {
      calls++
      await file.appendFile(lines)
    },
  })
  await file.sync()
  await file.close()
  expect([archived, head, calls > 1]).toEqual([3_000, 2_999, true])
  await store.delete('Tale-1', { expected: head })
  await expect(store.head('Tale-1')).rejects.toThrow(StreamDeletedError)
  const other = memoryStore()
  const progress: number[] = []
  await importEvents(other, eventsInArchive(createReadStream(path)), {
    onProgress: ({ appended }) => progress.push(appended),
  })
  expect(progress.at(-1)).toBe(3_000)
  expect(await other.readPage('Tale-1', { from: 2_999 })).toMatchObject({ events: [{ data: { n: 2_999 } }] })
})

test('an import that is aborted goes on in another run', async () => {
  const [from, to] = [memoryStore(), memoryStore()]
  for (let i = 0; i < 4; i++) {
    const events = Array.from({ length: 1_000 }, (_, n) => ({ type: 'Tale.Told', data: { n } }))
    await from.append({ stream: `Tale-${String(i)}`, events })
    // Another millisecond, so that a batch can end.
    const { time } = (await from.readPage(`Tale-${String(i)}`, { limit: 1 })).events[0]!
    while (new Date().toISOString() === time) await new Promise((resolve) => setTimeout(resolve, 1))
  }
  const controller = new AbortController()
  const reason = new Error('stop')
  const onProgress = () => {
    controller.abort(reason)
  }
  await expect(importEvents(to, exportEvents(from), { signal: controller.signal, onProgress })).rejects.toBe(
    reason,
  )
  const { appended, present } = await importEvents(to, exportEvents(from))
  expect([appended + present, present > 0, appended > 0]).toEqual([4_000, true, true])
})

const fact = () => ({ type: 'Fact.Stated', data: {} })

test('a key whose last event is of a deleted stream covers what is left of its append, and nothing else', async () => {
  const [from, to] = [memoryStore(), memoryStore()]
  const both = [
    { stream: 'Fact-b', events: [fact()] },
    { stream: 'Fact-a', events: [fact()] },
  ]
  await from.append(both, { key: 'k' })
  await from.append({ stream: 'Fact-c', events: [fact()] })
  await from.delete('Fact-a')
  await importEvents(to, exportEvents(from))
  const keys: unknown[] = []
  for await (const exported of exportEvents(to)) keys.push(...(exported.keys ?? []))
  const [last] = await eventsOf(to, 'Fact-b')
  expect(keys).toMatchObject([{ key: 'k', through: last!.position }])
})

test('an append with a key over as many streams as an append takes is imported whole', async () => {
  const [from, to] = [memoryStore(), memoryStore()]
  await from.append({ stream: 'Fact-0', events: [fact()] })
  await from.append(
    Array.from({ length: 256 }, (_, i) => ({ stream: `Fact-${String(i)}`, events: [fact()] })),
    { key: 'k' },
  )
  expect(await importEvents(to, exportEvents(from))).toMatchObject({ appended: 257, keys: 1 })
})

test('an append with a key that is as large as an append can be is imported whole, whatever came at the same time', async () => {
  const [from, to] = [memoryStore(), memoryStore()]
  await from.append({ stream: 'Fact-a', events: Array.from({ length: 300 }, fact) })
  await from.append({ stream: 'Fact-b', events: Array.from({ length: 10_000 }, fact) }, { key: 'k' })
  const events: ExportedEvent[] = []
  const time = '2026-01-31T12:00:00.000Z'
  for await (const event of exportEvents(from)) events.push({ ...event, time })
  expect(await importEvents(to, events)).toMatchObject({ appended: 10_300, keys: 1 })
})

test('an import again after a truncation that cuts an append with a key changes nothing', async () => {
  const [from, to] = [memoryStore(), memoryStore()]
  await from.append({ stream: 'Fact-a', events: [fact(), fact(), fact()] }, { key: 'k' })
  await importEvents(to, exportEvents(from))
  await from.truncate('Fact-a', { before: 1 })
  expect(await importEvents(to, exportEvents(from))).toMatchObject({ appended: 0, erasures: 1 })
  expect(await importEvents(to, exportEvents(from))).toMatchObject({ appended: 0 })
})

test('a notice of an erasure that is damaged erases nothing', async () => {
  const time = new Date().toISOString()
  const notice = (type: string, data: object) => ({
    ...{ stream: 'mneme-erasures', revision: 0, id: crypto.randomUUID(), version: 1, time, metadata: {} },
    ...{ type: `mneme.${type}`, data: data as Record<string, never> },
  })
  const store = memoryStore()
  await store.append({ stream: 'Fact-a', events: [fact(), fact()] })
  for (const damaged of [
    notice('StreamTruncated', { stream: 'Fact-a' }),
    notice('StreamTruncated', { stream: 'Fact-a', before: 1.5 }),
    notice('StreamTruncated', { stream: 'Fact-a', before: '1' }),
    notice('StreamDeleted', {}),
    notice('StreamDeleted', { stream: 'mneme-erasures' }),
  ]) {
    await expect(importEvents(store, [damaged])).rejects.toThrow(InvalidArgumentError)
  }
  expect(await store.head('Fact-a')).toBe(1)
  expect(await eventsOf(store, 'Fact-a')).toHaveLength(2)
})

test('an import does not hide that a stream was deleted in the store, if the input tells of a truncation', async () => {
  const [from, to] = [memoryStore(), memoryStore()]
  await from.append({ stream: 'Fact-a', events: [fact(), fact()] })
  await importEvents(to, exportEvents(from))
  await to.delete('Fact-a')
  await from.truncate('Fact-a', { before: 1 })
  await expect(importEvents(to, exportEvents(from))).rejects.toThrow('was deleted in the store')
})

test('a stream that is truncated while it is archived gives no archive with a hole', async () => {
  const store = memoryStore()
  await store.append({ stream: 'Fact-a', events: Array.from({ length: 5_000 }, fact) })
  const events: object[] = []
  const archiving = archiveStream(store, 'Fact-a', {
    to: async () => {
      if (events.push({}) === 1) await store.truncate('Fact-a', { before: 4_900 })
    },
  })
  await expect(archiving).rejects.toMatchObject({ code: 'STREAM_TRUNCATED' })
})

test('what tells of the erasure of a subject cannot be erased, and counts only in its own stream', async () => {
  const store = memoryStore({ personal: ringOf() })
  const { subject: hash } = await eraseSubject(store, subject('customer', 'c-1'))
  await expect(store.truncate(`mneme-erased-${hash}`, { before: 1 })).rejects.toThrow('belong to the store')
  await expect(store.delete(`mneme-erased-${hash}`)).rejects.toThrow('belong to the store')
  await store.append({ stream: 'Fact-a', events: [{ type: 'mneme.SubjectErased', data: {} }] })
  expect(await repeatErasures(store)).toBe(1)
})
