import { join } from 'node:path'
import { createStore, type EventStore } from 'mneme'
import type { ProjectionTarget } from 'mneme/projections'
import type { Reaction, Relay } from 'mneme/reactions'
import { sqliteTarget } from 'mneme/sqlite'
import { onTestFinished } from 'vitest'

import type { Clock } from '../../src/base/clock.ts'
import { DefinedReaction } from '../../src/reactions/reaction.ts'
import { DefinedRelay } from '../../src/reactions/relay.ts'
import { memoryAdapter, MemoryData } from '../../src/stores/memory/adapter.ts'
import { testFolder } from '../stores/sqlite/folder.ts'
import { fastClock } from '../projections/clocks.ts'

/** A store in memory with the state of reactions in a SQLite file, as several processes may have them. */
export function openPlace(): {
  readonly store: EventStore
  readonly state: ProjectionTarget<unknown>
  another(): { readonly store: EventStore; readonly state: ProjectionTarget<unknown> }
} {
  const data = new MemoryData()
  const file = join(testFolder(), 'state.db')
  const another = () => {
    const store = createStore(memoryAdapter(data))
    const state = sqliteTarget(file)
    onTestFinished(async () => {
      await store.close()
      await state.close()
    })
    return { store, state }
  }
  return { ...another(), another }
}

/** The time of day of a computer, which a test sets ahead or back. */
export class Wall {
  #ahead: number

  /** @param ahead milliseconds, of the computer that runs the test. */
  constructor(ahead = 0) {
    this.#ahead = ahead
  }

  get ahead(): number {
    return this.#ahead
  }

  get now(): number {
    return Date.now() + this.#ahead
  }

  forward(milliseconds: number): void {
    this.#ahead += milliseconds
  }
}

/** The same reaction, whose worker goes by another clock and another time of day. */
export function onTime<R extends Reaction<never> | Relay>(
  reaction: R,
  { clock = fastClock, wall = new Wall() }: { readonly clock?: Clock; readonly wall?: Wall } = {},
): R {
  const times = { clock, date: () => wall.now }
  if (reaction instanceof DefinedReaction) return new DefinedReaction({ ...reaction.spec, ...times }) as never
  return new DefinedRelay({ ...(reaction as unknown as DefinedRelay).spec, ...times }) as never
}

/** The types of the events of a stream. */
export async function typesOf(
  store: EventStore,
  stream: { readonly stream: string } | string,
): Promise<string[]> {
  const types: string[] = []
  for await (const { type } of store.read(stream as string)) types.push(type.replace('Order.', ''))
  return types
}
