import * as z from 'zod'
import { defineCommand, reject, type ContextOf } from 'mneme'
import { BankAccount, Counter, Deposited, Opened, Seat, Withdrawn, withdraw } from './domain.ts'

// an event of another aggregate
defineCommand({ reads: (input: { id: string }) => BankAccount(input.id), handle: () => Seat.events.Taken() })

// an event of another aggregate, in one of several returns
defineCommand({
  reads: (input: { id: string }) => BankAccount(input.id),
  handle: (account, { id }) => {
    if (account.open) return reject('open')
    if (id === '') return Seat.events.Taken()
    return Opened({ owner: id })
  },
})

// an event of another aggregate, in an array
defineCommand({ reads: () => BankAccount('a'), handle: () => [Opened({ owner: 'x' }), Seat.events.Taken()] })

// on: the event of another stream, a stream that was not read
defineCommand({
  reads: () => ({ account: BankAccount('a'), seat: Seat({ row: 1 }) }),
  handle: (_, __, { on }) => [on.seat(Withdrawn({ amount: 1 })), on.acount(Opened({ owner: 'x' }))],
})

// on: forgotten
defineCommand({ reads: () => ({ account: BankAccount('a') }), handle: () => Withdrawn({ amount: 1 }) })

// on: forgotten, in an array
defineCommand({ reads: () => ({ account: BankAccount('a') }), handle: () => [Withdrawn({ amount: 1 })] })

// on: of an array without the index
defineCommand({
  reads: () => ({ accounts: [BankAccount('a')] }),
  handle: (_, __, { on }) => on.accounts(Withdrawn({ amount: 1 })),
})

// on: where there is one stream only
defineCommand({
  reads: () => BankAccount('a'),
  handle: (_, __, { on }) => on.account(Withdrawn({ amount: 1 })),
})

// handle forgets to return
defineCommand({
  reads: () => BankAccount('a'),
  handle: (account) => {
    if (account.open) return Withdrawn({ amount: 1 })
  },
})

// handle forgets to return the rejection
defineCommand({
  reads: () => BankAccount('a'),
  handle: (account) => {
    if (!account.open) reject('not-open')
  },
})

// handle returns a rejection among events
defineCommand({ reads: () => BankAccount('a'), handle: () => [reject('x')] })

// handle returns the state
defineCommand({ reads: () => BankAccount('a'), handle: (account) => ({ ...account, balance: 1 }) })

// handle returns the constructor, not called
defineCommand({ reads: () => BankAccount('a'), handle: () => Opened })

// handle changes the state
defineCommand({
  reads: () => BankAccount('a'),
  handle: (account) => {
    account.balance = 1
    return []
  },
})

// handle reads a state that there is not
defineCommand({ reads: () => BankAccount('a'), handle: (account) => (account.closed ? [] : reject('x')) })

// handle uses what it did not say that it needs
defineCommand({
  reads: () => BankAccount('a'),
  handle: (_, __, { clock }) => Opened({ owner: String(clock.now()) }),
})

// the input without a type
defineCommand({ reads: (input) => BankAccount(input.id), handle: (_, { id }) => Opened({ owner: id }) })

// the parameter of handle without a type, handle before reads
defineCommand({
  handle: (account, { id }) => Opened({ owner: id + String(account.balance) }),
  reads: ({ id }) => BankAccount(id),
  input: z.object({ id: z.string() }),
})

// no error: handle before reads, with its input annotated
defineCommand({
  handle: (account, { id }) => Opened({ owner: id + String(account.balance) }),
  reads: ({ id }: { id: string }) => BankAccount(id),
})

// reads names an aggregate, not a stream
defineCommand({ reads: () => BankAccount, handle: () => [] })

// reads names aggregates, not streams
defineCommand({ reads: () => ({ account: BankAccount }), handle: () => [] })

// reads gives a list of streams, not a record
defineCommand({ reads: () => [BankAccount('a'), BankAccount('b')], handle: () => [] })

// reads is asynchronous
defineCommand({ reads: async () => BankAccount('a'), handle: () => [] })

// follow on a command over one stream
defineCommand({
  reads: () => BankAccount('a'),
  follow: (account) => ({ other: BankAccount(String(account.balance)) }),
  handle: () => [],
})

// follow after handle: its states are not known there
defineCommand({
  handle: (state) => (state.other.balance > 0 ? [] : reject('x')),
  reads: () => ({ account: BankAccount('a') }),
  follow: ({ account }) => ({ other: BankAccount(String(account.balance)) }),
})

// a detail that hides the reason
reject('x', { reason: 'y' })

// a detail that is no object
reject('x', 5)

// no error: an event made by hand, with its type misspelt and wrong data (append refuses it)
defineCommand({
  reads: () => BankAccount('x'),
  handle: () => ({ type: 'BankAccount.Witdrawn' as const, data: { amout: 1 } }),
})

// an event made by hand, without as const
defineCommand({
  reads: () => BankAccount('x'),
  handle: () => ({ type: 'BankAccount.Withdrawn', data: { amount: 1 } }),
})

// an input that is wrong, misspelt, missing
withdraw({ account: 'a', amount: '1' })
withdraw({ account: 'a', amout: 1 })
withdraw()

// needs as a plain type
defineCommand({ needs: { clock: Date }, reads: () => BankAccount('a'), handle: () => [] })

// an option that nobody knows
defineCommand({ reads: () => BankAccount('a'), handle: () => [], retries: 3 })

// the context of a class names a stream that it does not read
export class Move {
  get reads() {
    return { from: BankAccount('a'), to: Counter('b') }
  }
  handle(_: unknown, { on }: ContextOf<Move['reads']>) {
    return [on.from(Withdrawn({ amount: 1 })), on.to(Deposited({ amount: 1 }))]
  }
}
