import type { EventStore } from 'mneme'
import { runProjections } from 'mneme/projections'

import { balancesAt } from './balances.ts'

/** What follows a store as it grows. */
export type Kind = 'subscription' | 'projection'

/** It at work: when each event arrived, by its id, in milliseconds of {@link clock}. */
export interface Following {
  readonly arrived: Map<string, number>
  readonly stop: () => Promise<void>
}

/** Follows the store at a location from its present end; resolves when it has caught up. */
export async function follow(store: EventStore, location: string, kind: Kind): Promise<Following> {
  const arrived = new Map<string, number>()
  const came = (id: string) => {
    arrived.set(id, clock())
  }
  if (kind === 'projection') {
    const { projection, close } = balancesAt(location, 'followed', came)
    const running = await runProjections(store, [projection])
    await running.caughtUp({ timeout: 60_000 })
    const stop = async () => {
      await running.stop()
      await close()
    }
    return { arrived, stop }
  }
  const events = store.subscribe({ from: 'end' })
  const over = (async () => {
    for await (const { id } of events) came(id)
  })()
  await events.caughtUp()
  const stop = async () => {
    await events[Symbol.asyncDispose]()
    await over
  }
  return { arrived, stop }
}

/** Milliseconds of a clock that all processes of a machine have in common. */
export function clock(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
