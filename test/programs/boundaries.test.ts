import { execute, InvalidDataError, tryExecute } from 'mneme'
import { memoryStore } from 'mneme/memory'
import { expect, test } from 'vitest'
import {
  credit,
  Customer,
  Order,
  OrderId,
  pay,
  place,
  Seat,
  takeFirst,
  type AccountId,
} from './boundaries.ts'

const id = OrderId.parse('0b6f2f1e-6c0e-4a37-9d5c-2f0a4f1f7a11')
const customers = ['x', 'y'] as AccountId[]

test('ids may be branded, checked or composed', () => {
  expect(Customer('x' as AccountId).stream).toBe('Customer-x')
  expect(Seat({ show: 'hamlet', row: 1 }).stream).toBe('Seat-hamlet/1')
  expect(() => Order('no uuid' as OrderId)).toThrow(InvalidDataError)
})

test('a command without input', async () => {
  const store = memoryStore()
  expect((await execute(store, takeFirst())).state).toEqual({ taken: true })
  expect(await tryExecute(store, takeFirst())).toMatchObject({ ok: false, rejection: { reason: 'taken' } })
})

test('a schema checks and completes the input', async () => {
  const store = memoryStore()
  expect((await execute(store, credit({ customer: 'x' }))).state.points).toBe(1)
  expect(() => credit({ customer: 'x', points: 0.5 })).toThrow(InvalidDataError)
})

test('the boundary follows from the state of its first streams', async () => {
  const store = memoryStore()
  await execute(store, place({ id, customers }))
  const { state, revisions } = await execute(store, pay({ order: id }))
  expect(state).toEqual({
    order: { status: 'paid', customers },
    customers: [
      { blocked: false, points: 1 },
      { blocked: false, points: 1 },
    ],
  })
  expect([...revisions.keys()]).toEqual([`Order-${id}`, 'Customer-x', 'Customer-y'])
  const again = await tryExecute(store, pay({ order: id }))
  expect(!again.ok && again.rejection).toEqual({ reason: 'not-payable', status: 'paid' })
})

test('what is followed is only read where nothing is recorded on it', async () => {
  const store = memoryStore()
  await execute(store, place({ id, customers }))
  await store.append({ stream: Customer(customers[1]!), events: [Customer.events.Blocked()] })
  const result = await tryExecute(store, pay({ order: id }))
  expect(!result.ok && result.rejection.reason).toBe('customer-blocked')
})
