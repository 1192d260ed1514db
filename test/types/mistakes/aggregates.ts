import { aggregateFromClass, defineAggregate, event } from 'mneme'
import { BankAccount, Counter, CounterState, Customer, Deposited, Seat, type CustomerId } from './domain.ts'

const happened = { Happened: event<{ n: number }>() }

// apply without a case
defineAggregate({
  name: 'A',
  events: { ...happened, Ended: event() },
  initial: () => ({ n: 0 }),
  apply: { Happened: (state, { n }) => ({ n: state.n + n }) },
})

// apply with a case too many, misspelt
defineAggregate({
  name: 'A',
  events: happened,
  initial: () => ({ n: 0 }),
  apply: { Happened: (state) => state, Hapened: (state) => state },
})

// apply returns another state
defineAggregate({
  name: 'A',
  events: happened,
  initial: () => ({ n: 0 }),
  apply: { Happened: (state, { n }) => ({ ...state, n: String(n) }) },
})

// apply returns a part of the state
defineAggregate({
  name: 'A',
  events: happened,
  initial: () => ({ n: 0, m: 0 }),
  apply: { Happened: (_, { n }) => ({ n }) },
})

// apply changes the state, and forgets to return it
defineAggregate({
  name: 'A',
  events: happened,
  initial: () => ({ n: 0 }),
  apply: {
    Happened: (state, { n }) => {
      state.n += n
    },
  },
})

// apply reads data that the event has not
defineAggregate({
  name: 'A',
  events: happened,
  initial: () => ({ n: 0 }),
  apply: { Happened: (_, { m }) => ({ n: m }) },
})

// apply reads the event's time, which is not known yet
defineAggregate({
  name: 'A',
  events: happened,
  initial: () => ({ at: '' }),
  apply: { Happened: (_, __, { time }) => ({ at: time }) },
})

// apply returns a literal that is none of the state's
defineAggregate({
  name: 'A',
  events: happened,
  initial: (): { status: 'none' | 'paid' } => ({ status: 'none' }),
  apply: { Happened: (state) => ({ ...state, status: 'payd' }) },
})

// no error: apply adds a misspelt property (a spread is not checked for excess)
defineAggregate({
  name: 'A',
  events: happened,
  initial: () => ({ n: 0 }),
  apply: { Happened: (state, { n }) => ({ ...state, nn: n }) },
})

// initial with an empty array, of which nothing is known
defineAggregate({
  name: 'A',
  events: happened,
  initial: () => ({ items: [] }),
  apply: { Happened: (state, { n }) => ({ items: [...state.items, n] }) },
})

// a new Set without its type: the state's is not inferred into it
defineAggregate({
  name: 'A',
  events: happened,
  initial: () => ({ seen: new Set<number>() }),
  apply: { Happened: () => ({ seen: new Set() }) },
})

// initial as a value
defineAggregate({
  name: 'A',
  events: happened,
  initial: { n: 0 },
  apply: { Happened: (state) => state },
})

// events without data, and apply written for them as for a payload
defineAggregate({
  name: 'A',
  events: { Ended: event() },
  initial: () => ({ n: 0 }),
  apply: { Ended: (state, { n }) => ({ n }) },
})

// an option that nobody knows
defineAggregate({
  name: 'A',
  events: happened,
  initial: () => ({ n: 0 }),
  apply: { Happened: (state) => state },
  memoise: true,
})

// an id function that gives no string
defineAggregate({
  name: 'A',
  id: (id: { row: number }) => id.row,
  events: happened,
  initial: () => ({ n: 0 }),
  apply: { Happened: (state) => state },
})

// an id that is not branded
Customer('alice')

// an id of another kind
Seat('row 1')
BankAccount(7)

// an id of another aggregate
BankAccount({} as CustomerId) satisfies ReturnType<typeof Customer>

// evolve on another aggregate's event
Customer.evolve(Customer.initial(), Deposited({ amount: 1 }))

// a state class that does not know an event
aggregateFromClass({
  name: 'Counter',
  state: CounterState,
  events: { Counted: event<{ by: number }>(), Reset: event() },
})

// a state class whose apply takes other data
aggregateFromClass({ name: 'Counter', state: CounterState, events: { Counted: event<{ by: string }>() } })

// a state class without apply
aggregateFromClass({
  name: 'Counter',
  state: class {
    count = 0
  },
  events: { Counted: event<{ by: number }>() },
})

// a state class without clone
aggregateFromClass({
  name: 'Counter',
  state: class {
    count = 0
    apply(event: { type: 'Counter.Counted'; data: { by: number } }) {
      this.count += event.data.by
    }
  },
  events: { Counted: event<{ by: number }>() },
})

// a state class that needs arguments
aggregateFromClass({
  name: 'Counter',
  state: class {
    count: number
    constructor(count: number) {
      this.count = count
    }
    apply(event: { type: 'Counter.Counted'; data: { by: number } }) {
      this.count += event.data.by
    }
    clone() {
      return this
    }
  },
  events: { Counted: event<{ by: number }>() },
})

// an event that the aggregate does not have
Counter.events.Count({ by: 1 })

// snapshots with toJson, but without fromJson
defineAggregate({
  name: 'A',
  events: happened,
  initial: () => ({ at: new Map<string, number>() }),
  apply: { Happened: (state) => state },
  snapshot: { version: 1, every: 500, toJson: ({ at }) => [...at] },
})

// snapshots whose fromJson gives another state
defineAggregate({
  name: 'A',
  events: happened,
  initial: () => ({ n: 0 }),
  apply: { Happened: (state) => state },
  snapshot: { version: 1, every: 500, toJson: ({ n }) => n, fromJson: (n) => ({ m: n }) },
})

// snapshots of a class without toJson and fromJson
aggregateFromClass({
  name: 'Counter',
  state: CounterState,
  events: { Counted: event<{ by: number }>() },
  snapshot: { version: 1, every: 500 },
})
