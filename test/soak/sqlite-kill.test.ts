import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { sqliteStore } from 'mneme/sqlite'
import { describe, expect, test } from 'vitest'

import { drivers } from '../stores/sqlite/drivers.ts'
import { testFolder } from '../stores/sqlite/folder.ts'
import { historyOf } from '../stores/sqlite/history.ts'
import { Worker } from '../stores/sqlite/processes.ts'
import { rounds } from '../support/soak.ts'

describe.each(drivers)('a killed writer with $name', ({ name, driver }) => {
  test('round after round of SIGKILL: what was acknowledged is there, whole, once and in order', async () => {
    const file = join(testFolder(), 'bank.db')
    let acknowledgedInAll = 0
    let unheard = 0
    let kills = 0
    for (const round of rounds({ full: 200, brief: 20 })) {
      const worker = new Worker('endless', name, file, round)
      await worker.said('endless')
      await delay(Math.random() * 60)
      worker.child.kill('SIGKILL')
      await worker.ended
      kills++
      // Cut off in the middle, a line would look like another.
      const lines = worker.lines.filter((line) => /^[ab] \S+ ([0-9a-f-]{36},)*[0-9a-f-]{36}$/.test(line))
      const told = (kind: string) =>
        lines.filter((line) => line.startsWith(kind)).map((line) => line.slice(2))
      const [begun, acknowledged] = [told('b '), told('a ')]

      const store = await sqliteStore(file, { driver })
      const history = (await historyOf(store)).filter(({ stream }) => stream.startsWith(`r${round}-`))
      await store.close()
      const stored = grouped(history)
      for (const stream of new Set([...stored.keys(), ...begun.map(streamOf)])) {
        const mine = (appends: string[]) => appends.filter((append) => streamOf(append) === stream).map(idsOf)
        const [begunHere, acknowledgedHere] = [mine(begun), mine(acknowledged)]
        const there = stored.get(stream) ?? []
        // One at a time: the last one begun may be there or not, but not half of it.
        expect(begunHere.slice(0, acknowledgedHere.length)).toEqual(acknowledgedHere)
        const possible = [acknowledgedHere.flat(), begunHere.flat()]
        expect(possible).toContainEqual(there)
        if (there.length > acknowledgedHere.flat().length) unheard++
      }
      acknowledgedInAll += acknowledged.length
    }
    const database = driver(file)
    expect(Object.values(database.prepare('PRAGMA integrity_check').get() as object)).toEqual(['ok'])
    database.close()
    console.log(
      `${kills} kills, ${acknowledgedInAll} acknowledged, ${unheard} committed but not acknowledged`,
    )
    expect(acknowledgedInAll).toBeGreaterThan(kills)
  })
})

function streamOf(append: string): string {
  return append.split(' ')[0] ?? ''
}

function idsOf(append: string): string[] {
  return (append.split(' ')[1] ?? '').split(',')
}

function grouped(history: readonly { stream: string; id: string }[]): Map<string, string[]> {
  const streams = new Map<string, string[]>()
  for (const { stream, id } of history) streams.set(stream, [...(streams.get(stream) ?? []), id])
  return streams
}
