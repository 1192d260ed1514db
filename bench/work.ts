import { execute, type EventStore, type Position } from 'mneme'

import { Account, deposit, NOTE } from './account.ts'

/** One caller of `append`: an event at a time, each on condition that the stream stands where it left it. */
export async function appendAlone(
  store: Pick<EventStore, 'append'>,
  stream: string,
  count: number,
): Promise<void> {
  for (let i = 0; i < count; i++) {
    const events = [Account.events.Deposited({ amount: i, note: NOTE })]
    await store.append({ stream, events, expected: i === 0 ? 'none' : i - 1 })
  }
}

/** One caller of `execute`. */
export async function executeAlone(store: EventStore, account: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await execute(store, deposit({ account, amount: 1 }))
}

/** So many callers at once. */
export async function callers(count: number, call: (caller: number) => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, caller) => call(caller)))
}

/** Appends events to a new account, all in one append. */
export async function fill(store: EventStore, account: string, count: number): Promise<void> {
  const events = Array.from({ length: count }, (_, i) => Account.events.Deposited({ amount: i, note: NOTE }))
  await store.append({ stream: Account(account), events, expected: 'none' })
}

/** Reads all events, or those after a position. */
export async function readAll(store: EventStore, after?: Position): Promise<number> {
  let count = 0
  for await (const event of store.readAll({ after })) if (event.revision >= 0) count++
  return count
}
