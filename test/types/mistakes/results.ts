import { execute, tryExecute, type Event } from 'mneme'
import {
  BankAccount,
  convert,
  Counter,
  type CounterState,
  Deposited,
  store,
  Withdrawn,
  withdraw,
} from './domain.ts'

const result = await tryExecute(store, withdraw({ account: 'a', amount: 1 }))
const done = await execute(store, withdraw({ account: 'a', amount: 1 }))

// a rejection that is not handled
if (!result.ok) {
  switch (result.rejection.reason) {
    case 'not-open':
      break
    default:
      result.rejection satisfies never
  }
}

// a reason that there is not
if (!result.ok && result.rejection.reason === 'insufficient-fund') console.log('poor')

// a detail of another reason
if (!result.ok) console.log(result.rejection.balance)

// events of a result before looking at ok
console.log(result.events)

// the rejection of a command that was accepted
if (result.ok) console.log(result.rejection)

// data that the event has not
console.log(done.events[0]?.data.amout)

// a stream that is not in the state
console.log(done.state.from)

// needs not given
await execute(store, convert({ account: 'a' }))

// needs given in part
await execute(store, convert({ account: 'a' }), { needs: { now: () => new Date() } })

// needs of another type
await execute(store, convert({ account: 'a' }), { needs: { now: () => new Date(), rate: () => '1' } })

// needs given where there are none
await execute(store, withdraw({ account: 'a', amount: 1 }), { needs: {} })

// the command type, not a command
await execute(store, withdraw)

// the input, not a command
await execute(store, { account: 'a', amount: 1 })

// the store forgotten
await execute(withdraw({ account: 'a', amount: 1 }))

// an option misspelt
await execute(store, withdraw({ account: 'a', amount: 1 }), { idempotencyKey: 'x' })

// metadata that is no text
await execute(store, withdraw({ account: 'a', amount: 1 }), { metadata: { actor: 5 } })

// a class whose handle takes another state
await execute(store, { reads: BankAccount('a'), handle: (_: CounterState) => [] })

// a class whose handle returns another stream's event
await execute(store, { reads: Counter('a'), handle: (_: CounterState) => Deposited({ amount: 1 }) })

// a decider whose events are made without as const
await execute(store, { reads: BankAccount('a'), handle: () => [{ type: 'BankAccount.Noted', data: {} }] })

// an error that may be another command's
try {
  await execute(store, withdraw({ account: 'a', amount: 1 }))
} catch (error) {
  console.log(error.rejection)
  if (withdraw.rejected(error)) console.log(error.rejection.amount)
}

// append: the stream forgotten, a stream without expectation's name
await store.append({ events: [Deposited({ amount: 1 })] })
await store.append({ stream: BankAccount('a'), events: [Deposited({ amount: 1 })], expected: 'empty' })

// append: an event that was read
for await (const read of store.read(BankAccount('a'))) {
  await store.append({ stream: BankAccount('b'), events: [read] })
}

// append: metadata within an event, and a time
await store.append({
  stream: BankAccount('a'),
  events: [{ type: 'BankAccount.Closed', data: {}, metadata: { actor: 'ann' }, time: '2026-01-01' }],
})

// append: the constructor, not called
await store.append({ stream: BankAccount('a'), events: [Withdrawn] })

// is: of the wrong thing, and data of another type
const event = {} as Event
if (Withdrawn.is(event)) console.log(event.data.owner, event.position)
