import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import type { EventStore, Recorded } from 'mneme'
import { compareHistories, copyHistory, exportEvents } from 'mneme/history'
import { memoryStore } from 'mneme/memory'
import { sqliteStore } from 'mneme/sqlite'
import { ScriptProcess } from '../support/processes.ts'
import { fact } from './copies.ts'

/**
 * Kills a process that copies, again and again, while another one writes, truncates and deletes in the source; then lets it end, and
 * compares with a copy that was never killed.
 */
export async function killCopies(rounds: Iterable<number>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mneme-killed-copy-'))
  onTestFinished(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  const [source, target] = [join(folder, 'from.db'), join(folder, 'to.db')]
  const from = await sqliteStore(source)
  const script = new URL('../support/copier.mjs', import.meta.url)
  let n = 0
  let isDeleted = false
  const write = async (appends: number) => {
    for (let i = 0; i < appends; i++, n++) {
      // Fact-10 is deleted on the way.
      const own = `Fact-${String(n % (isDeleted ? 10 : 11))}`
      const streams = n % 3 === 0 ? [own, 'Fact-all'] : [own]
      const writes = streams.map((stream) => ({ stream, events: [fact(n), fact(n + 1)] }))
      await from.append(writes, n % 2 === 0 ? {} : { key: String(n) })
    }
  }
  const points: string[] = []
  let killed = 0
  await write(1_500)
  for (const round of rounds) {
    await write(200)
    const stream = `Fact-${String(round % 5)}`
    if (round % 3 === 1) {
      const [last] = (await from.readPage(stream, { direction: 'backwards', limit: 1 })).events
      if (last) await from.truncate(stream, { before: Math.floor(Math.random() * (last.revision + 1)) })
    }
    if (round === 2) {
      await from.delete('Fact-10')
      isDeleted = true
    }
    const copying = new ScriptProcess(script, source, target)
    const batch = 1 + Math.floor(Math.random() * 2)
    await Promise.race([copying.said(`batch ${String(batch)}`), copying.ended]).catch(() => undefined)
    const turns = Math.floor(Math.random() * 100)
    for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
    points.push(`batch ${String(batch)}, ${String(turns)} turns later`)
    if (copying.child.kill('SIGKILL')) killed++
    await copying.ended
  }
  const where = points.join('; ')
  await new ScriptProcess(script, source, target).result()
  const [to, whole] = [await sqliteStore(target), memoryStore()]
  await copyHistory(from, whole)
  expect(await compareHistories(from, to), where).toMatchObject({ isSame: true, differences: [] })
  expect(await contents(to), where).toEqual(await contents(whole))
  expect(killed, where).toBeGreaterThan(points.length / 4)
  await from.close()
  await to.close()
}

/** All that a store holds, whatever its positions. */
async function contents(store: EventStore) {
  const events: Omit<Recorded, 'position'>[] = []
  const keys: unknown[] = []
  for await (const { position: _, keys: own = [], ...event } of exportEvents(store)) {
    events.push(event)
    for (const { key, fingerprint } of own) keys.push([key, fingerprint, event.id])
  }
  return { events, keys }
}
