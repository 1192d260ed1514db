// The bank as Emmett's and Equinox's users write it: unions and switches by hand, run through the structural Command.
import { aggregateFromClass, event, execute, reject, tryExecute, type EventsOf } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { expect, test } from 'vitest'

type BankEvent =
  | { type: 'Bank.Opened'; data: { owner: string } }
  | { type: 'Bank.Deposited'; data: { amount: number } }
  | { type: 'Bank.Withdrawn'; data: { amount: number } }
type BankCommand =
  | { type: 'Open'; data: { owner: string } }
  | { type: 'Deposit'; data: { amount: number } }
  | { type: 'Withdraw'; data: { amount: number } }
interface BankState {
  readonly balance: number
  readonly open: boolean
}

const initialState = (): BankState => ({ balance: 0, open: false })

const evolve = (state: BankState, event: BankEvent): BankState => {
  switch (event.type) {
    case 'Bank.Opened':
      return { ...state, open: true }
    case 'Bank.Deposited':
      return { ...state, balance: state.balance + event.data.amount }
    case 'Bank.Withdrawn':
      return { ...state, balance: state.balance - event.data.amount }
  }
}

const decide = (command: BankCommand, state: BankState) => {
  switch (command.type) {
    case 'Open':
      return [{ type: 'Bank.Opened', data: { owner: command.data.owner } } as const]
    case 'Deposit':
      return [{ type: 'Bank.Deposited', data: command.data } as const]
    case 'Withdraw':
      return command.data.amount > state.balance
        ? reject('insufficient-funds', { balance: state.balance })
        : [{ type: 'Bank.Withdrawn', data: command.data } as const]
  }
}

// A holder of the state for `evolve`, a line for `decide`.
class Held {
  state = initialState()
  apply(event: BankEvent) {
    this.state = evolve(this.state, event)
  }
  clone(): Held {
    return Object.assign(new Held(), this)
  }
}
const Bank = aggregateFromClass({
  name: 'Bank',
  state: Held,
  events: {
    Opened: event<{ owner: string }>(),
    Deposited: event<{ amount: number }>(),
    Withdrawn: event<{ amount: number }>(),
  },
})
const run = (id: string, command: BankCommand) => ({
  reads: Bank(id),
  handle: (held: Held) => decide(command, held.state),
})

test('a decider runs through the structural Command, with its events and rejections inferred', async () => {
  const store = memoryStore()
  await execute(store, run('a', { type: 'Open', data: { owner: 'Ann' } }))
  const { events, state } = await execute(store, run('a', { type: 'Deposit', data: { amount: 5 } }))
  const type: EventsOf<typeof Bank>['type'] = events[0]!.type
  expect(type).toBe('Bank.Deposited')
  expect(state.state).toEqual({ balance: 5, open: true })
  const result = await tryExecute(store, run('a', { type: 'Withdraw', data: { amount: 50 } }))
  if (result.ok) return expect.unreachable('it is rejected')
  expect(result.rejection satisfies { reason: 'insufficient-funds'; balance: number }).toEqual({
    reason: 'insufficient-funds',
    balance: 5,
  })
})
