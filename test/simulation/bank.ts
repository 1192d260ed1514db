import { defineAggregate, defineCommand, event, reject } from 'mneme'
import { defineProjection } from 'mneme/projections'
import type { SimulateOptions } from 'mneme/simulation'
import { sqliteTarget } from 'mneme/sqlite'

export const Account = defineAggregate({
  name: 'Account',
  events: { Deposited: event<{ amount: number }>(), Withdrawn: event<{ amount: number }>() },
  initial: () => ({ balance: 0 }),
  apply: {
    Deposited: (state, { amount }) => ({ balance: state.balance + amount }),
    Withdrawn: (state, { amount }) => ({ balance: state.balance - amount }),
  },
})

const { Deposited, Withdrawn } = Account.events

export const deposit = defineCommand({
  name: 'deposit',
  reads: (input: { to: string; amount: number }) => Account(input.to),
  handle: (_, { amount }) => Deposited({ amount }),
})

const transfer = defineCommand({
  name: 'transfer',
  reads: (input: { from: string; to: string; amount: number }) => ({
    from: Account(input.from),
    to: Account(input.to),
  }),
  handle: ({ from }, { amount }, { on }) => {
    if (from.balance < amount) return reject('insufficient-funds', { balance: from.balance })
    return [on.from(Withdrawn({ amount })), on.to(Deposited({ amount }))]
  },
})

/** An overdraft that another account covers, which is only read. */
const withdraw = defineCommand({
  name: 'withdraw',
  reads: (input: { from: string; cover: string; amount: number }) => ({
    from: Account(input.from),
    cover: Account(input.cover),
  }),
  handle: ({ from, cover }, { amount }, { on }) => {
    if (from.balance + cover.balance < amount) return reject('not-covered')
    return on.from(Withdrawn({ amount }))
  },
})

/** The balance of each account. No file of this name is ever opened: a simulation has a database of its own. */
export const balances = defineProjection({
  name: 'balances',
  into: sqliteTarget('bank.db'),
  from: [Account],
  tables: ['balances'],
  setup: (db, { tables }) =>
    db.exec(`CREATE TABLE ${tables.balances} (account TEXT PRIMARY KEY, balance INT)`),
  on: {
    'Account.Deposited': ({ stream, data }, db, { tables }) => {
      db.prepare(
        `INSERT INTO ${tables.balances} VALUES (?, ?) ON CONFLICT DO UPDATE SET balance = balance + excluded.balance`,
      ).run(stream, data.amount)
    },
    'Account.Withdrawn': ({ stream, data }, db, { tables }) => {
      db.prepare(
        `INSERT INTO ${tables.balances} VALUES (?, ?) ON CONFLICT DO UPDATE SET balance = balance + excluded.balance`,
      ).run(stream, -data.amount)
    },
  },
})

const take = defineCommand({
  name: 'take',
  reads: (input: { from: string; amount: number }) => Account(input.from),
  handle: ({ balance }, { amount }) =>
    balance < amount ? reject('insufficient-funds') : Withdrawn({ amount }),
})

/** Deposits and withdrawals, for a store that takes one stream at a time and keeps no keys. */
export const till = {
  workload: ({ pick, integer, happens }) => {
    const amount = integer(1, 50)
    const account = pick(['a', 'b'])
    return happens(0.6) ? deposit({ to: account, amount }) : take({ from: account, amount })
  },
  always: (world) =>
    accounts.every((account) => world.state(Account(account)).balance >= 0) || 'an account is overdrawn',
} satisfies SimulateOptions

const accounts = ['a', 'b', 'c', 'd']

/** Deposits, transfers and covered withdrawals between a few accounts; half of them have a key. */
export const bank = {
  workload: ({ pick, integer, happens, uuid }) => {
    const key = happens(0.5) ? uuid() : undefined
    const [one, other] = pick([
      ['a', 'b'],
      ['b', 'a'],
      ['c', 'd'],
      ['d', 'c'],
    ] as const)
    const amount = integer(1, 50)
    const command = pick([
      () => deposit({ to: one, amount }),
      () => transfer({ from: one, to: other, amount }),
      () => withdraw({ from: one, cover: other, amount }),
    ])()
    return { command, key }
  },
  always: (world) => {
    const [a, b, c, d] = accounts.map((account) => world.state(Account(account)).balance)
    return (a! + b! >= 0 && c! + d! >= 0) || 'a pair of accounts is overdrawn'
  },
} satisfies SimulateOptions
