import { defineAggregate, event } from 'mneme'
import { defineProjection } from 'mneme/projections'
import { sqliteTarget } from 'mneme/sqlite'
import { given } from 'mneme/testing'
import { expect, test } from 'vitest'

const Account = defineAggregate({
  name: 'Account',
  events: { Opened: event<{ owner: string }>(), Deposited: event<{ amount: number }>() },
  initial: () => ({}),
  apply: { Opened: (state) => state, Deposited: (state) => state },
})
const { Opened, Deposited } = Account.events

const balances = defineProjection({
  name: 'balances',
  into: sqliteTarget(':memory:'),
  from: [Account],
  tables: ['balances'],
  setup: (db, { tables }) =>
    db.exec(`CREATE TABLE ${tables.balances} (account TEXT PRIMARY KEY, balance INT)`),
  on: {
    'Account.Opened': ({ stream }, db, { tables }) => {
      db.prepare(`INSERT INTO ${tables.balances} VALUES (?, 0)`).run(stream)
    },
    'Account.Deposited': ({ stream, data }, db, { tables }) => {
      if (data.amount < 0) throw new RangeError('a negative deposit')
      db.prepare(`UPDATE ${tables.balances} SET balance = balance + ? WHERE account = ?`).run(
        data.amount,
        stream,
      )
    },
  },
})

const ALL = 'SELECT account, balance FROM balances ORDER BY account'
const alice = Account('alice')

test('a projection writes what its events say, in each test anew', async () => {
  await given(alice, Opened({ owner: 'Alice' }), Deposited({ amount: 5 }))
    .and(Account('bob'), Opened({ owner: 'Bob' }))
    .project(balances)
    .thenRows(ALL, { account: 'Account-alice', balance: 5 }, { account: 'Account-bob', balance: 0 })
  const opened = given(alice, Opened({ owner: 'Alice' })).project(balances)
  await opened.thenRows(ALL, { account: 'Account-alice', balance: 0 })
  await opened.thenRows({ sql: 'SELECT balance FROM balances WHERE account = ?', values: ['Account-bob'] })
  await given().project(balances).thenRows(ALL)
})

test('other rows than expected fail with a diff', async () => {
  const projected = given(alice, Opened({ owner: 'Alice' })).project(balances)
  const failure = projected.thenRows(ALL, { account: 'Account-alice', balance: 7 })
  await expect(failure).rejects.toThrow(/balance: 7[^]*balance: 0/)
})

test('what a handler throws is expected, without retries', async () => {
  const projected = given(alice, Opened({ owner: 'Alice' }), Deposited({ amount: -1 })).project(balances)
  await projected.thenThrows(/negative deposit/)
  await projected.thenThrows(RangeError)
  await expect(projected.thenRows(ALL)).rejects.toThrow('a negative deposit')
  await expect(
    given(alice, Opened({ owner: 'Alice' }))
      .project(balances)
      .thenThrows(),
  ).rejects.toThrow('rejection')
})

test('only a projection of defineProjection can be tested', () => {
  expect(() => given().project({} as never)).toThrow('made by defineProjection')
})
