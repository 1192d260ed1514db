import { UnsupportedError } from '../base/errors.ts'
import { isPlain } from '../model/json.ts'
import { isSealedText, isUnsealed, newValueOf, type Sealed } from '../model/sealed.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import type { KeyRing } from '../store/key-ring.ts'
import { partsOf } from './seal-text.ts'

/** In the place of a value whose subject was erased. */
export class Erased {
  /** When the key was destroyed: ISO 8601, UTC. */
  readonly erasedAt: string

  constructor(erasedAt: string) {
    this.erasedAt = erasedAt
    Object.freeze(this)
  }

  toString(): string {
    return '[erased]'
  }
}

/** Whether a revealed value was erased. */
export function isErased(value: unknown): value is Erased {
  return value instanceof Erased
}

/** What {@link reveal} makes of a value: in the place of each sealed value in it the plain one, or `Erased`. */
export type Revealed<T> =
  T extends Sealed<infer Value>
    ? Value | Erased
    : T extends
          | string
          | number
          | boolean
          | bigint
          | symbol
          | null
          | undefined
          | ((...args: never) => unknown)
          | Date
      ? T
      : T extends ReadonlyMap<infer Key, infer Item>
        ? ReadonlyMap<Key, Revealed<Item>>
        : unknown extends T
          ? unknown
          : { readonly [K in keyof T]: Revealed<T[K]> }

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
  const texts = new Set<string>()
  mapSealed(value, (text) => texts.add(text))
  const list = [...texts]
  const opened = list.length === 0 ? [] : await ring.open(list)
  const found = new Map(list.map((text, i) => [text, opened[i]!]))
  return mapSealed(value, (text) => {
    const one = found.get(text)!
    return 'erasedAt' in one ? new Erased(one.erasedAt) : one.value
  }) as Revealed<T>
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

/** Maps each sealed text in a value; what holds none stays the same object. */
function mapSealed(value: unknown, map: (text: string) => unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  const made = newValueOf(value)
  if (made) return made.value
  if (isSealedText(value)) return map(value.$sealed)
  if (isUnsealed(value)) return value.$unsealed
  if (Array.isArray(value)) {
    const items = value as readonly unknown[]
    const mapped = items.map((item) => mapSealed(item, map))
    return mapped.some((item, i) => item !== items[i]) ? mapped : value
  }
  if (value instanceof Map || isPlain(value)) {
    const isMap = value instanceof Map
    const entries: [unknown, unknown][] = isMap
      ? [...(value as Map<unknown, unknown>)]
      : Object.entries(value)
    const mapped = entries.map(([key, item]) => [key, mapSealed(item, map)] as const)
    if (!mapped.some(([, item], i) => item !== entries[i]![1])) return value
    return isMap ? new Map(mapped) : Object.fromEntries(mapped as [string, unknown][])
  }
  return value
}

const NO_RING =
  'this store has no keys to reveal with: open the store with { personal: keyRing(...) } of mneme/erasure'
