import { createReadStream, mkdtempSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execute, load, StreamDeletedError, subject } from 'mneme'
import { eraseSubject, reveal } from 'mneme/erasure'
import { archiveStream, eventsInArchive, exportEvents, importEvents } from 'mneme/history'
import { memoryStore } from 'mneme/memory'
import { expect, onTestFinished, test } from 'vitest'

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
