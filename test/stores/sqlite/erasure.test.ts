import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eraseSubject, isErased, keyRing, reveal, wrappingKey } from 'mneme/erasure'
import { sqliteKeys, sqliteStore } from 'mneme/sqlite'
import { erasures, subject } from 'mneme'
import { expect, onTestFinished, test } from 'vitest'
import { ScriptProcess } from '../../support/processes.ts'

test('E3: eight processes store data of a subject while two erase it, one of which is killed half-way; none is readable', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mneme-erasure-'))
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  const [events, keyFile] = [join(folder, 'events.db'), join(folder, 'keys.db')]
  const script = new URL('../../support/eraser.mjs', import.meta.url)
  const roles = ['', '', 'erases', '', 'dies', '', '', '']
  const writers = roles.map((role, i) => new ScriptProcess(script, events, keyFile, `p${String(i)}`, role))
  for (const writer of writers) await writer.said('ready')
  for (const writer of writers) writer.say('go')
  const told = await Promise.all(
    writers.map((writer, i) =>
      roles[i] === 'dies' ? writer.ended.then(() => undefined) : writer.result<Record<string, number>>(),
    ),
  )
  for (const one of told) if (one) expect(one.refused! + one.written!).toBe(20)
  expect(told.some((one) => one !== undefined && one.refused! > 0)).toBe(true)

  const keys = sqliteKeys(keyFile)
  const ring = keyRing({ keys, wrap: wrappingKey('k', new Uint8Array(32)), secret: 'a secret of the race' })
  const store = await sqliteStore(events, { personal: ring })
  const report = await eraseSubject(store, subject('person', 'a'))
  expect(report.outcome).toBe('already-erased')
  let written = 0
  for await (const { data } of store.read('Person-a')) {
    expect(isErased((await reveal(store, data as { text: unknown })).text)).toBe(true)
    written++
  }
  expect(written).toBeGreaterThan(0)
  const { events: notices } = await store.readAllPage({ types: [erasures.SubjectErased] })
  expect(notices).toHaveLength(1)
  await store.close()
  await keys.close()
})
