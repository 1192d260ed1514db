import { keyedHash } from '../base/hash.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import { Tagged } from '../base/tagged.ts'
import { secureBytes } from '../base/cipher.ts'
import { checkText } from './names.ts'

declare const content: unique symbol

/**
 * A personal value of an event, as it is stored, as `apply` sees it and as states hold it: encrypted under the key of its
 * subject. `reveal` of `mneme/erasure` gives the value. It is plain JSON, so it can be kept, compared, copied and sent
 * like any other data.
 */
export interface Sealed<T = unknown> {
  /** Never there: the type of the value. */
  readonly [content]: T
}

/** The person, or whatever else it is, whose data can be erased. Made by {@link subject}. */
export interface Subject {
  readonly kind: string
  readonly id: string
}

/**
 * Names the subject of personal data: what can be erased at once. Choose an id that never changes; it is stored as a keyed
 * hash only.
 *
 * @throws InvalidArgumentError if a part is blank.
 * @example
 * ```ts
 * const Customer = defineEvents('Customer', {
 *   Registered: event<{ id: string; email: string }>().personal({ email: (data) => subject('customer', data.id) }),
 * })
 * ```
 */
export function subject(kind: string, id: string): Subject {
  checkText(kind, 'kind', 'the kind of a subject')
  checkText(id, 'id', 'the id of a subject')
  return Object.freeze({ kind, id })
}

/** @throws InvalidArgumentError */
export function checkSubject(value: Subject, argument: string): Subject {
  const { kind, id } = Object(value) as Partial<Subject>
  if (typeof kind === 'string' && typeof id === 'string') return subject(kind, id)
  throw new InvalidArgumentError(argument, "subject(kind, id), like subject('customer', 'c-17')")
}

/** A sealed value at run time: encrypted, or new and not encrypted yet. */
export interface SealedText {
  readonly $sealed: string
}

/** A value that was recorded before its field became personal. */
export interface Unsealed {
  readonly $unsealed: unknown
}

/** A sealed value in an event's data, and its path there, like `email`. */
export interface SealedAt {
  readonly path: string
  readonly value: SealedText | Unsealed
}

/** Whether a value is a sealed one, in any of its forms. */
export function isSealed(value: unknown): value is SealedText | Unsealed {
  return isSealedText(value) || isUnsealed(value)
}

export function isSealedText(value: unknown): value is SealedText {
  return isObject(value) && typeof (value as Partial<SealedText>).$sealed === 'string' && isAlone(value)
}

export function isUnsealed(value: unknown): value is Unsealed {
  return isObject(value) && Object.hasOwn(value, '$unsealed') && isAlone(value)
}

function isAlone(value: object): boolean {
  return Object.keys(value).length === 1
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

/** A frozen copy. A new value is not copied: it holds what no copy has. */
export function copySealed(value: SealedText): SealedText {
  return newValueOf(value) ? value : Object.freeze({ $sealed: value.$sealed })
}

/** A new personal value, which is in the memory of this process only until it is encrypted. */
export interface NewValue {
  readonly value: unknown
  readonly subject: Subject
}

/**
 * Wraps a value that an event is made with. Nothing that prints, copies or serialises the object finds the value in it. What
 * it shows is equal for equal values, so that events can be compared, but says nothing outside of this process.
 */
export function sealLater(value: unknown, of: Subject): SealedText {
  secret ??= secureBytes(32)
  const text = JSON.stringify([of.kind, of.id, value])
  const box: SealedText = { $sealed: `${NEW}${keyedHash(secret, text).slice(0, 32)}` }
  new Box(box, { value, subject: of })
  return Object.freeze(box)
}

/** The value of an event that was just made, if it is one. */
export function newValueOf(value: unknown): NewValue | undefined {
  return Box.of(value)
}

const NEW = 'new:'
/** Never stored. */
let secret: Uint8Array | undefined

class Box extends Tagged {
  readonly #content: NewValue

  constructor(box: object, value: NewValue) {
    super(box)
    this.#content = value
  }

  static of(box: unknown): NewValue | undefined {
    return isObject(box) && #content in box ? box.#content : undefined
  }
}
