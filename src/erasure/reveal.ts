import { UnsupportedError } from '../base/errors.ts'
import { Erased, mapSealed, type Revealed } from '../model/revealed.ts'
import { isSealedText, type Sealed } from '../model/sealed.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import type { KeyRing } from '../store/key-ring.ts'
import { revealing } from '../store/revealing.ts'
import { partsOf } from './seal-text.ts'

/** Whether a revealed value was erased. */
export function isErased(value: unknown): value is Erased {
  return value instanceof Erased
}

/**
 * Reveals a sealed value, or every sealed value in a state, an event or another plain object: opens it by the key of its
 * subject. Each call asks the key store once, so an erasure holds from the moment when the key is destroyed. Instances of
 * classes are left as they are.
 *
 * @throws KeyStoreError if the key store cannot be reached; that is never taken for an erasure.
 * @throws SealBrokenError if a value was changed, or there is no key for it.
 * @throws UnsupportedError if the store has no key ring.
 * @example
 * ```ts
 * const { state } = await load(store, Customer('c-17'))
 * const email = await reveal(store, state.email)
 * console.log(isErased(email) ? 'erased' : email)
 * ```
 */
export async function reveal<T>(store: EventStore, value: T): Promise<Revealed<T>> {
  const core = coreOf(store)
  const { personal } = core.options
  if (!personal) throw new UnsupportedError(NO_RING)
  return core.track(() => revealBy(personal, value))
}

/** The same, given the key ring. */
export async function revealBy<T>(ring: KeyRing, value: T): Promise<Revealed<T>> {
  const texts: string[] = []
  mapSealed(value, (text) => texts.push(text))
  return (await revealing(ring, texts))(value)
}

/** A value with the plain values of events that were only made; what is sealed stays. */
export function plainOf(value: unknown): unknown {
  return mapSealed(value, (text) => ({ $sealed: text }))
}

/**
 * The keyed hash of the subject of a sealed value, as it stands in the event that tells of its erasure: keep it with a row that
 * holds the revealed value. `undefined` if there is no value, or it was recorded before its field became personal.
 *
 * @example
 * ```ts
 * const { state } = await load(store, Customer('c-17'))
 * console.log(subjectHashIn(state.email))
 * ```
 */
export function subjectHashIn(value: Sealed | undefined): string | undefined {
  return isSealedText(value) ? partsOf(value.$sealed)?.subject : undefined
}

const NO_RING =
  'this store has no keys to reveal with: open the store with { personal: keyRing(...) } of mneme/erasure'
