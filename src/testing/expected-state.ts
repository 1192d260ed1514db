import type { Claim, ClaimState } from '../model/claim.ts'
import type { ReadonlyState } from '../model/command.ts'
import { isPlain } from '../model/json.ts'
import type { Sealed } from '../model/sealed.ts'
import type { Stream } from '../model/stream.ts'

/** The states of a boundary in an expectation. */
export type StatesToExpect<B> =
  B extends Stream<infer State>
    ? StateToExpect<State>
    : B extends Claim | undefined
      ? B extends undefined
        ? undefined
        : ClaimState
      : { readonly [K in keyof B]: StatesToExpect<B[K]> }

/** For a state class, its public properties without methods; an instance is accepted too. */
type StateToExpect<State> = State extends { apply(event: never): unknown }
  ? { readonly [K in keyof State as State[K] extends (...args: never) => unknown ? never : K]: State[K] }
  : WithPlain<ReadonlyState<State>>

/** A personal value may be stated as the plain one. */
type WithPlain<T> = unknown extends T
  ? T
  : T extends Sealed<infer Value>
    ? Value | T
    : T extends object
      ? HasSealed<T[keyof T]> extends true
        ? { readonly [K in keyof T]: WithPlain<T[K]> }
        : T
      : T
/** Whether it is a sealed value, or has one in it, three levels deep at most. */
type HasSealed<T, Levels extends readonly unknown[] = [1, 1, 1]> = true extends (
  T extends Sealed
    ? true
    : Levels extends readonly [unknown, ...infer Fewer]
      ? T extends object
        ? HasSealed<T[keyof T], Fewer>
        : false
      : false
)
  ? true
  : false

/**
 * The actual state as an expectation can state it. If a plain object is expected and the state is an instance of a class:
 * its own fields, and the properties that the expectation names, like getters.
 */
export function comparable(actual: unknown, expected: unknown): unknown {
  if (Array.isArray(actual) && Array.isArray(expected)) {
    return actual.map((item, i) => comparable(item, expected[i]))
  }
  if (!isObject(actual) || !isObject(expected) || !isPlain(expected) || isBuiltIn(actual)) return actual
  const names = isPlain(actual)
    ? Object.keys(actual)
    : [...Object.keys(actual), ...Object.keys(expected).filter((name) => name in actual)]
  return Object.fromEntries(
    [...new Set(names)].map((name) => [name, comparable(actual[name], expected[name])]),
  )
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}

/** Objects that compare by their content rather than by their properties. */
function isBuiltIn(object: object): boolean {
  return (
    Array.isArray(object) ||
    object instanceof Map ||
    object instanceof Set ||
    object instanceof Date ||
    ArrayBuffer.isView(object)
  )
}
