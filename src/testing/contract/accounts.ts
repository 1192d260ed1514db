import assert from 'node:assert/strict'
import { defineAggregate, type StateOf } from '../../model/aggregate.ts'
import { defineCommand, reject } from '../../model/command.ts'
import { event } from '../../model/event-spec.ts'
import type { Recorded } from '../../model/event.ts'
import type { AppendRequest } from '../../adapter/store-adapter.ts'
import type { EventStore } from '../../store/event-store.ts'

/** The aggregate of the cases about commands: an account that must never be overdrawn. */
export const Account = defineAggregate({
  name: 'Account',
  events: {
    Deposited: event<{ amount: number }>(),
    Withdrawn: event<{ amount: number }>(),
    Noted: event<{ text: string }>(),
  },
  initial: () => ({ balance: 0, notes: [] as readonly string[] }),
  apply: {
    Deposited: (state, { amount }) => ({ ...state, balance: state.balance + amount }),
    Withdrawn: (state, { amount }) => ({ ...state, balance: state.balance - amount }),
    Noted: (state, { text }) => ({ ...state, notes: [...state.notes, text] }),
  },
})
const { Deposited, Withdrawn } = Account.events

export const deposit = defineCommand({
  reads: (input: { account: string; amount: number }) => Account(input.account),
  handle: (_, { amount }) => Deposited({ amount }),
})

export const withdraw = defineCommand({
  reads: (input: { account: string; amount: number }) => Account(input.account),
  handle: ({ balance }, { amount }) =>
    amount > balance ? reject('insufficient-funds', { balance }) : Withdrawn({ amount }),
})

export const transfer = defineCommand({
  reads: (input: { from: string; to: string; amount: number }) => ({
    from: Account(input.from),
    to: Account(input.to),
  }),
  handle: ({ from }, { amount }, { on }) =>
    amount > from.balance
      ? reject('insufficient-funds', { balance: from.balance })
      : [on.from(Withdrawn({ amount })), on.to(Deposited({ amount }))],
})

/** Withdraws from one account an amount that two accounts cover together; the other account is only read. */
export const withdrawCovered = defineCommand({
  reads: (input: { account: string; cover: string; amount: number }) => ({
    account: Account(input.account),
    cover: Account(input.cover),
  }),
  handle: ({ account, cover }, { amount }, { on }) =>
    amount > account.balance + cover.balance ? reject('not-covered') : on.account(Withdrawn({ amount })),
})

/** Appends no event, and reports the sum of two accounts. */
export const audit = defineCommand({
  reads: (input: { left: string; right: string }) => ({
    left: Account(input.left),
    right: Account(input.right),
  }),
  handle: ({ left, right }) => reject('audited', { total: left.balance + right.balance }),
})

/** A deposit by append, without a command. */
export async function depositDirectly(store: EventStore, account: string, amount: number): Promise<void> {
  await store.append({ stream: Account(account), events: [Deposited({ amount })] })
}

/** A note on an account, as an adapter is asked to append it. */
export function noteRequest(account: string): AppendRequest {
  const { stream } = Account(account)
  const event = { stream, id: crypto.randomUUID(), type: 'Account.Noted', version: 1 }
  return {
    conditions: [{ stream, expected: 'any' }],
    events: [{ ...event, data: '{"text":"of a stranger"}', metadata: '{}' }],
    keys: [],
    ids: 'made',
  }
}

/** The state that follows from the first events of an account, up to a revision. */
export function stateAt(
  log: readonly Recorded[],
  account: string,
  revision: number,
): StateOf<typeof Account> {
  const { stream } = Account(account)
  return log
    .filter((event) => event.stream === stream && event.revision <= revision)
    .reduce((state, event) => Account.evolve(state, event as never), Account.initial())
}

/** Fails if an account was overdrawn at any moment. */
export function assertNeverOverdrawn(log: readonly Recorded[]): void {
  const balances = new Map<string, number>()
  for (const { stream, revision, type, data } of log) {
    const { amount = 0 } = data as { amount?: number }
    const balance = (balances.get(stream) ?? 0) + (type === Withdrawn.type ? -amount : amount)
    assert.ok(balance >= 0, `${stream} stands at ${balance} at revision ${revision}`)
    balances.set(stream, balance)
  }
}
