import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EventStore, StreamDeletedError, StreamTruncatedError } from 'mneme'
import { exportEvents } from 'mneme/history'
import { memoryStore } from 'mneme/memory'
import { sqliteStore } from 'mneme/sqlite'
import { expect, onTestFinished, test } from 'vitest'
import { ScriptProcess } from '../support/processes.ts'

const APPENDS = 3_000
const ACCOUNTS = 40
const KILLS = 8

test('an import that is killed again and again, and run once more, leaves what one that was never killed leaves', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mneme-killed-import-'))
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  const lines = join(folder, 'history.jsonl')
  const calls = await writeHistory(lines)
  const [whole, killed] = [join(folder, 'whole.db'), join(folder, 'killed.db')]
  const script = new URL('../support/importer.mjs', import.meta.url)
  const undisturbed = new ScriptProcess(script, lines, whole)
  const { appended } = await undisturbed.result<{ appended: number }>()
  const batches = undisturbed.lines.filter((line) => line.startsWith('batch ')).length
  expect(batches).toBeGreaterThan(KILLS)

  let after = ''
  let kills = 0
  const points: string[] = []
  for (let round = 0; round < KILLS; round++) {
    // From the beginning, or from what the last run told.
    const importer = new ScriptProcess(script, lines, killed, round % 2 === 0 ? '' : after)
    const batch = 1 + Math.floor(Math.random() * 3)
    await Promise.race([importer.said(`batch ${String(batch)}`), importer.ended]).catch(() => undefined)
    const turns = Math.floor(Math.random() * 200)
    for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
    points.push(`batch ${String(batch)}, ${String(turns)} turns later`)
    if (importer.child.kill('SIGKILL')) kills++
    await importer.ended
    const told = importer.lines.filter((line) => line.startsWith('position ')).at(-1)
    after = told?.slice('position '.length) ?? after
  }
  const last = await new ScriptProcess(script, lines, killed).result<{ appended: number; present: number }>()
  expect(last.appended + last.present, points.join('; ')).toBe(appended)
  expect(kills, points.join('; ')).toBeGreaterThan(KILLS / 2)

  const stores = await Promise.all([whole, killed].map((file) => sqliteStore(file)))
  const [one, other] = (await Promise.all(stores.map(contents))) as [Contents, Contents]
  expect(other, points.join('; ')).toEqual(one)
  for (const store of stores) {
    for (const { key, writes } of calls) {
      const repeat = await store.append(writes, { key }).catch((error: unknown) => error)
      const isErased = repeat instanceof StreamDeletedError || repeat instanceof StreamTruncatedError
      if (isErased) expect(['Account-0', 'Account-1']).toContain(repeat.stream)
      else expect(repeat).toMatchObject({ repeated: true })
    }
    await store.close()
  }
})

interface Call {
  readonly key: string
  readonly writes: Parameters<EventStore['append']>[0] & readonly unknown[]
}

/** Writes a history with keys, some of them over two streams, and with erasures behind the events that they erase. @returns calls with keys. */
async function writeHistory(path: string): Promise<Call[]> {
  const store = memoryStore()
  const calls: Call[] = []
  const account = () => `Account-${String(Math.floor(Math.random() * ACCOUNTS))}`
  const booked = (n: number) => ({ type: 'Account.Booked', data: { n, text: 'x'.repeat(n % 300) } })
  for (let n = 0; n < APPENDS; n++) {
    const [from, to] = [account(), account()]
    const streams = n % 3 === 0 && from !== to ? [from, to] : [from]
    const writes = streams.map((stream) => ({ stream, events: [booked(n), booked(n + 1)] }))
    if (n % 2 === 0) await store.append(writes)
    else {
      const key = `call ${String(n)}`
      await store.append(writes, { key, metadata: { actor: String(n % 7) } })
      if (n % 50 === 1) calls.push({ key, writes })
    }
  }
  const exported: string[] = []
  const read = async (after?: string) => {
    for await (const event of exportEvents(store, { after })) exported.push(`${JSON.stringify(event)}\n`)
  }
  await read()
  const after = await store.logHead()
  await store.truncate('Account-1', { before: 5 })
  await store.delete('Account-0')
  await store.append({ stream: 'Account-2', events: [booked(0)] }, { key: 'after the erasures' })
  await read(after)
  writeFileSync(path, exported.join(''))
  return calls
}

type Contents = Awaited<ReturnType<typeof contents>>

/** All that a store holds, whatever its positions. */
async function contents(store: EventStore) {
  const ids = new Map<string, string>()
  const events = []
  const keys = []
  for await (const { position, keys: own = [], ...event } of exportEvents(store)) {
    ids.set(position!, event.id)
    events.push(event)
    for (const key of own) keys.push({ ...key, first: event.id })
  }
  const streams = []
  for await (const summary of store.streams()) streams.push(summary)
  return { events, streams, keys: keys.map(({ through, ...key }) => ({ ...key, last: ids.get(through) })) }
}
