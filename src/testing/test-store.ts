import { keyRing } from '../erasure/key-ring.ts'
import { memoryKeys } from '../erasure/memory-keys.ts'
import { revealBy } from '../erasure/reveal.ts'
import { wrappingKey } from '../erasure/wrapping.ts'
import { secureBytes } from '../base/cipher.ts'
import type { EventStore } from '../store/event-store.ts'
import type { KeyRing } from '../store/key-ring.ts'
import { memoryStore } from '../stores/memory/index.ts'

/** A memory store for one test, which can hold personal data. */
export interface TestStore {
  readonly store: EventStore
  readonly ring: KeyRing
  /** Gives a value with every sealed value in it revealed. */
  readonly reveal: (value: unknown) => Promise<unknown>
}

export function testStore(): TestStore {
  const ring = keyRing({
    keys: memoryKeys(),
    wrap: wrappingKey('test', secureBytes(32)),
    secret: secureBytes(32),
  })
  return { ring, store: memoryStore({ personal: ring }), reveal: (value) => revealBy(ring, value) }
}
