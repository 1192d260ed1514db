import { checkOptions } from '../base/arguments.ts'
import type { KeyStore } from '../adapter/key-store.ts'
import { InvalidArgumentError, SealBrokenError } from '../base/errors.ts'
import { keyedHash } from '../base/hash.ts'
import type { Destroyed, KeyRing, Opened, ToSeal } from '../store/key-ring.ts'
import { checkSubject, type Subject } from '../model/sealed.ts'
import { openText, partsOf, type SealParts, sealText, SUBJECT_BYTES } from './seal-text.ts'
import { SubjectKeys } from './subject-keys.ts'
import type { WrappingKey } from './wrapping.ts'

/** What {@link keyRing} takes. */
export interface KeyRingOptions {
  /** Where the keys of subjects are kept: never in the events' database, nor in one backup with it. */
  readonly keys: KeyStore
  /**
   * What encrypts the keys of subjects. Of a list, the first wraps new keys, and the others unwrap those that they have
   * wrapped: see `rewrap`.
   */
  readonly wrap: WrappingKey | readonly WrappingKey[]
  /**
   * The key of the hash under which subjects stand in events and in the key store, and by which idempotency keys are compared:
   * at least 16 bytes, random. It never changes.
   */
  readonly secret: string | Uint8Array
}

/**
 * The keys by which the personal data of a store's events is sealed: one for each subject, made when it is needed, kept in a key
 * store, wrapped by a key of yours. Give it to a store as `personal`; several stores may share one.
 *
 * @throws InvalidArgumentError
 * @example
 * ```ts
 * const ring = keyRing({
 *   keys: sqliteKeys('keys.db'),
 *   wrap: wrappingKey('2026-11', Buffer.from(process.env['WRAPPING_KEY'] ?? '', 'base64')),
 *   secret: process.env['SUBJECT_SECRET'] ?? '',
 * })
 * const customers = await sqliteStore('customers.db', { personal: ring })
 * ```
 */
export function keyRing(options: KeyRingOptions): KeyRing {
  checkOptions(options, 'options', ['keys', 'wrap', 'secret'])
  const { keys } = options
  for (const method of ['get', 'put', 'destroy', 'list'] as const) {
    if (typeof (Object(keys) as Partial<KeyStore>)[method] !== 'function') {
      throw new InvalidArgumentError(
        'keys',
        'a key store with get, put, destroy and list, like sqliteKeys(...)',
      )
    }
  }
  return new Ring(keys, checkWrapping(options.wrap), checkSecret(options.secret))
}

/** @throws SealBrokenError */
function checkedParts(text: string): SealParts {
  const found = partsOf(text)
  if (found) return found
  throw new SealBrokenError(
    text.startsWith('new:')
      ? 'this value is of an event that was not stored, and was copied: reveal the value of the event itself'
      : 'this is no sealed value of Mneme, or it was cut off',
  )
}

class Ring implements KeyRing {
  readonly #store: KeyStore
  readonly #keys: SubjectKeys
  readonly #secret: string | Uint8Array

  constructor(store: KeyStore, wrapping: readonly WrappingKey[], secret: string | Uint8Array) {
    this.#store = store
    this.#keys = new SubjectKeys(store, wrapping)
    this.#secret = secret
  }

  get place(): string | undefined {
    return this.#store.place
  }

  hashOf(subject: Subject): string {
    const { kind, id } = checkSubject(subject, 'subject')
    const text = JSON.stringify(['subject', kind.normalize('NFC'), id.normalize('NFC')])
    return keyedHash(this.#secret, text).slice(0, SUBJECT_BYTES * 2)
  }

  subjectOf(text: string): string {
    return checkedParts(text).subject
  }

  hash(text: string): string {
    return keyedHash(this.#secret, JSON.stringify(['text', text]))
  }

  async seal(values: readonly ToSeal[]): Promise<string[]> {
    const subjects = values.map(({ subject }) => this.hashOf(subject))
    const keys = await this.#keys.toSeal([...new Set(subjects)])
    return values.map(({ text, id, path }, i) => {
      const subject = subjects[i]!
      return sealText(text, keys.get(subject)!, { id, path, subject })
    })
  }

  async open(texts: readonly string[]): Promise<Opened[]> {
    const parts = texts.map(checkedParts)
    const keys = await this.#keys.toOpen([...new Set(parts.map(({ subject }) => subject))])
    return parts.map((part) => {
      const key = keys.get(part.subject)!
      if (!(key instanceof Uint8Array)) return key
      const text = openText(part, key)
      if (text !== undefined) return { value: JSON.parse(text) as unknown }
      throw new SealBrokenError(
        `the sealed value at ${part.path} of event ${part.id} does not open: it was changed, or moved there by hand`,
      )
    })
  }

  destroy(subject: string, erasedAt: string): Promise<Destroyed> {
    return this.#keys.destroy({ subject, erasedAt })
  }

  rewrap(): Promise<number> {
    return this.#keys.rewrap()
  }
}

function checkWrapping(given: WrappingKey | readonly WrappingKey[]): readonly WrappingKey[] {
  const list = (Array.isArray(given) ? [...(given as readonly WrappingKey[])] : [given]) as WrappingKey[]
  const isUsable = (one: unknown) => {
    const { id, wrap, unwrap } = Object(one) as Partial<WrappingKey>
    return typeof id === 'string' && typeof wrap === 'function' && typeof unwrap === 'function'
  }
  if (list.length === 0 || !list.every(isUsable)) {
    throw new InvalidArgumentError(
      'wrap',
      'a wrapping key with id, wrap and unwrap, like wrappingKey(...), or a list',
    )
  }
  if (new Set(list.map(({ id }) => id)).size < list.length) {
    throw new InvalidArgumentError('wrap', {
      message: 'two wrapping keys have the same id; give each key an id of its own',
    })
  }
  return list
}

function checkSecret(secret: string | Uint8Array): string | Uint8Array {
  const bytes = typeof secret === 'string' ? new TextEncoder().encode(secret) : (secret as unknown)
  if (!(bytes instanceof Uint8Array) || bytes.length < MIN_SECRET_BYTES) {
    throw new InvalidArgumentError(
      'secret',
      `a text or bytes, at least ${String(MIN_SECRET_BYTES)} bytes long and random`,
    )
  }
  return typeof secret === 'string' ? secret : secret.slice()
}

const MIN_SECRET_BYTES = 16
