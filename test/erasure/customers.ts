import { defineAggregate, defineCommand, event, type KeyRing, type Sealed, subject } from 'mneme'
import { keyRing, memoryKeys, wrappingKey } from 'mneme/erasure'
import type { KeyStore } from 'mneme/adapter'

/** A text that must stand nowhere. */
export const MARKER = 'marker-ada@example.org'

export interface CustomerState {
  readonly plan: string
  readonly email?: Sealed<string>
}

export const Customer = defineAggregate({
  name: 'Customer',
  events: {
    Registered: event<{ id: string; plan: string; email: string }>().personal({
      email: (data) => subject('customer', data.id),
    }),
    EmailChanged: event<{ id: string; email: string; by?: { name: string; reason: string } }>().personal({
      email: (data) => subject('customer', data.id),
      by: { name: (data) => subject('clerk', data.id) },
    }),
    Upgraded: event<{ plan: string }>(),
  },
  snapshot: { version: 1, every: 2 },
  initial: (): CustomerState => ({ plan: 'none' }),
  apply: {
    Registered: (_state, { plan, email }) => ({ plan, email }),
    EmailChanged: (state, { email }) => ({ ...state, email }),
    Upgraded: (state, { plan }) => ({ ...state, plan }),
  },
})
export const { Registered, EmailChanged, Upgraded } = Customer.events

export const register = defineCommand({
  name: 'customer.register',
  reads: (input: { id: string; plan: string; email: string }) => Customer(input.id),
  handle: (_state, input) => Registered(input),
})

export const changeEmail = defineCommand({
  name: 'customer.changeEmail',
  reads: (input: { id: string; email: string }) => Customer(input.id),
  handle: (_state, { id, email }) => EmailChanged({ id, email }),
})

/** A key ring for tests. */
export function ringOf(keys: KeyStore = memoryKeys(), wrap = testKey('k1')): KeyRing {
  return keyRing({ keys, wrap, secret: 'a secret of at least 16 bytes' })
}

export function testKey(id: string, byte = 7) {
  return wrappingKey(id, new Uint8Array(32).fill(byte))
}
