import { isPlain } from './json.ts'
import { isSealedText, isUnsealed, newValueOf, type Sealed } from './sealed.ts'

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

/** What revealing makes of a value: in the place of each sealed value in it the plain one, or `Erased`. */
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

/** Maps each sealed text in a value; what holds none stays the same object. */
export function mapSealed(value: unknown, map: (text: string) => unknown): unknown {
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
