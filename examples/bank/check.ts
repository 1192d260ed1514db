import type { EventStore } from 'mneme'

import { CurrentAccount, type Account } from './account.ts'
import type { Tally } from './tally.ts'

/** What rebuilding the accounts from their events showed. */
export interface Check {
  /** How many events were read. */
  readonly events: number
  readonly accounts: number
  /** The accounts that hold something else than was reported. */
  readonly wrong: readonly { account: string; reported: number; rebuilt: number | undefined }[]
}

/**
 * Rebuilds every reported account from the events in the store, each up to the revision that was reported,
 * and compares. It shares nothing with the run but the events and how state follows from them.
 */
export async function check(store: EventStore, { balances }: Tally): Promise<Check> {
  const rebuilt = new Map<string, Account>()
  let events = 0
  for await (const stored of store.readAll({ categories: [CurrentAccount.category] })) {
    const event = CurrentAccount.decode(stored)
    if (!event) continue
    events++
    const account = event.stream.slice(CurrentAccount.category.length + 1)
    const reported = balances.get(account)
    if (!reported || event.revision > reported.revision) continue
    rebuilt.set(account, CurrentAccount.evolve(rebuilt.get(account) ?? CurrentAccount.initial(), event))
  }
  const wrong = [...balances.values()]
    .map(({ account, balance }) => ({ account, reported: balance, rebuilt: rebuilt.get(account)?.balance }))
    .filter(({ reported, rebuilt }) => reported !== rebuilt)
  return { events, accounts: balances.size, wrong }
}

/** Why transactions were declined in earlier runs, by transaction. */
export async function readDeclined(store: EventStore): Promise<ReadonlyMap<string, string>> {
  const { Declined } = CurrentAccount.events
  const reasons = new Map<string, string>()
  for await (const event of store.readAll({ types: [Declined.type] })) {
    if (Declined.is(event)) reasons.set(event.data.transaction, event.data.reason)
  }
  return reasons
}
