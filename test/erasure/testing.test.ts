import { defineCommand, reject } from 'mneme'
import { given } from 'mneme/testing'
import { expect, test } from 'vitest'
import { changeEmail, Customer, EmailChanged, register, Registered } from './customers.ts'

const ada = { id: 'c-1', plan: 'basic', email: 'ada@example.org' }
const copyEmail = defineCommand({
  reads: (id: string) => Customer(id),
  handle: ({ email }, id) => (email ? EmailChanged({ id, email }) : reject('unknown')),
})

test('given, when, then: personal values are compared as plain ones', async () => {
  await given().when(register(ada)).thenEvents(Registered(ada))
  await given(Customer('c-1'), Registered(ada))
    .when(copyEmail('c-1'))
    .thenEvents(EmailChanged({ id: 'c-1', email: ada.email }))
  await given(Customer('c-1'), Registered(ada))
    .when(changeEmail({ id: 'c-1', email: 'new' }))
    .thenState({ plan: 'basic', email: 'new' })
})

test('given, when, then: another personal value is a difference that is shown', async () => {
  const expected = given().when(register(ada))
  await expect(expected.thenEvents(Registered({ ...ada, email: 'bob@example.org' }))).rejects.toThrow(
    'bob@example.org',
  )
  await expect(expected.thenState({ plan: 'basic', email: 'bob@example.org' })).rejects.toThrow(
    'another state',
  )
})
