import type { EventStore } from 'mneme'
import { expect } from 'vitest'
import { ScriptProcess } from './processes.ts'

const PROCESSES = 8
const STREAMS = 12

/** What a process was told: the position of each append, or that it deleted a stream, by streams. */
interface Told {
  readonly appended: readonly (readonly [stream: string, position: string])[]
  readonly deleted: readonly (readonly [stream: string, position: string])[]
}

/**
 * Eight processes append to the same streams, by commands on cached states and under all kinds of expectations, while each of
 * them deletes some. One deletes each stream; whatever was acknowledged comes before the deletion, and nothing is left.
 */
export async function raceWithDeletions(url: string, store: EventStore): Promise<void> {
  const script = new URL('deleter.mjs', import.meta.url)
  const deleters = Array.from({ length: PROCESSES }, (_, i) => new ScriptProcess(script, url, i, STREAMS))
  for (const deleter of deleters) await deleter.said('ready')
  for (const deleter of deleters) deleter.say('go')
  const told = await Promise.all(deleters.map((deleter) => deleter.result<Told>()))

  const deletions = told.flatMap(({ deleted }) => deleted)
  const deletedAt = new Map(deletions)
  expect(deletions.length).toBe(STREAMS)
  expect(deletedAt.size).toBe(STREAMS)
  const appends = told.flatMap(({ appended }) => appended)
  expect(appends.length).toBeGreaterThan(STREAMS)
  for (const [stream, position] of appends) expect(position < deletedAt.get(stream)!).toBe(true)
  for (const stream of deletedAt.keys()) await expect(store.head(stream)).rejects.toThrow(/deleted/)
  for await (const event of store.readAll()) expect(event.stream).toBe('mneme-erasures')
}
