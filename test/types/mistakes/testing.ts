import { given, on } from 'mneme/testing'
import { BankAccount, convert, Deposited, Opened, Seat, transfer, withdraw, Withdrawn } from './domain.ts'

const alice = BankAccount('alice')
const withdraw1 = withdraw({ account: 'alice', amount: 1 })
const transfer1 = transfer({ from: 'alice', to: 'bob' })

// given: the event of another aggregate
given(alice, Seat.events.Taken())
given().and(alice, Opened({ owner: 'x' }), Seat.events.Taken())

// given: events without their stream
given(Opened({ owner: 'x' }))

// given: an old event, under a type that was another aggregate's, without the stream's name
given(alice, { type: 'Account.Opened', data: {} })

// when: the command type, not a command
given(alice).when(withdraw)

// when: needs not given
given(alice).when(convert({ account: 'alice' }))

// thenEvents: an event that the command never records
await given(alice)
  .when(withdraw1)
  .thenEvents(Deposited({ amount: 1 }))

// thenEvents: of several streams, without on
await given(alice)
  .when(transfer1)
  .thenEvents(Withdrawn({ amount: 1 }))

// thenEvents: on a stream that does not take it
await given(alice)
  .when(transfer1)
  .thenEvents(on(Seat({ row: 1 }), Withdrawn({ amount: 1 })))

// thenRejected: a reason that there is not
await given(alice).when(withdraw1).thenRejected('insufficient')
await given(alice).when(withdraw1).thenRejected({ reason: 'insufficient' })

// thenRejected: details forgotten, wrong, too many
await given(alice).when(withdraw1).thenRejected({ reason: 'insufficient-funds' })
await given(alice).when(withdraw1).thenRejected({ reason: 'insufficient-funds', balance: '0' })
await given(alice).when(withdraw1).thenRejected({ reason: 'not-open', balance: 0 })

// thenRejected: of a command that never rejects
await given(alice)
  .when(convert({ account: 'a' }), { needs: { rate: () => 1, now: () => new Date() } })
  .thenRejected('x')

// thenState: of another shape
await given(alice).when(withdraw1).thenState({ balance: 1 })
await given(alice)
  .when(transfer1)
  .thenState({ from: { balance: 1, open: true } })
