import { aggregateFromClass, event, reject, type ContextOf, type EventsOf } from 'mneme'

/** A state that changes itself, as `apply(&mut self)` in the Rust original. */
export class AccountState {
  balance = 0
  owner = ''

  apply(event: AccountEvent) {
    switch (event.type) {
      case 'Account.Created':
        this.owner = event.data.owner
        break
      case 'Account.Deposited':
        this.balance += event.data.amount
        break
      case 'Account.Withdrawn':
        this.balance -= event.data.amount
        break
    }
  }

  clone(): AccountState {
    return Object.assign(new AccountState(), this)
  }
}

/** Written out: taken from `EventsOf<typeof Account>` it would refer to itself, because Account infers from the class. */
type AccountEvent =
  | { type: 'Account.Created'; data: { owner: string } }
  | { type: 'Account.Deposited' | 'Account.Withdrawn'; data: { amount: number } }

export const Account = aggregateFromClass({
  name: 'Account',
  state: AccountState,
  events: {
    Created: event<{ owner: string }>(),
    Deposited: event<{ amount: number }>(),
    Withdrawn: event<{ amount: number }>(),
  },
})

/** The same with a list, which `clone()` must copy as well. */
export class CopiedState {
  items: string[] = []

  apply(event: { type: 'List.Added'; data: { item: string } }) {
    this.items.push(event.data.item)
  }

  clone(): CopiedState {
    return Object.assign(new CopiedState(), { items: [...this.items] })
  }
}

export const List = aggregateFromClass({
  name: 'List',
  state: CopiedState,
  events: { Added: event<{ item: string }>() },
})

/** A command as a class: no base class, nothing to implement by name. */
export class Withdraw {
  readonly id: string
  readonly amount: number

  constructor(id: string, amount: number) {
    this.id = id
    this.amount = amount
  }

  get reads() {
    return Account(this.id)
  }

  handle(account: AccountState) {
    return this.amount <= account.balance
      ? [Account.events.Withdrawn({ amount: this.amount })]
      : reject('insufficient-funds', { balance: account.balance })
  }
}

/** One over two streams, which says on which of them each event is recorded. */
export class Transfer {
  readonly from: string
  readonly to: string
  readonly amount: number

  constructor(from: string, to: string, amount: number) {
    this.from = from
    this.to = to
    this.amount = amount
  }

  get reads() {
    return { from: Account(this.from), to: Account(this.to) }
  }

  handle({ from }: { from: AccountState }, { on }: ContextOf<Transfer['reads']>) {
    if (this.amount > from.balance) return reject('insufficient-funds')
    const { amount } = this
    return [on.from(Account.events.Withdrawn({ amount })), on.to(Account.events.Deposited({ amount }))]
  }
}

/** Adds twice, looking at the state in between, as a handler that mutates would. */
export class AddBoth {
  readonly list: string
  readonly items: readonly string[]

  constructor(list: string, ...items: string[]) {
    this.list = list
    this.items = items
  }

  get reads() {
    return List(this.list)
  }

  handle(list: CopiedState) {
    const events = []
    for (const item of this.items) {
      if (list.items.includes(item)) return reject('there-already', { item })
      const added = List.events.Added({ item })
      list.apply(added)
      events.push(added)
    }
    return events
  }
}

export const ownerOrAmount = (event: EventsOf<typeof Account>) =>
  event.type === 'Account.Created' ? event.data.owner : event.data.amount
