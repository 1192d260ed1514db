import { Buffer } from 'node:buffer'
import type { KeyEntry, KeyStore, Tombstone, WrappedKey } from '../adapter/key-store.ts'
import { KEY_BYTES, secureBytes } from '../base/cipher.ts'
import { environment } from '../base/environment.ts'
import { isMnemeError, KeyStoreError, SealBrokenError, SubjectErasedError } from '../base/errors.ts'
import type { Destroyed } from '../store/key-ring.ts'
import type { WrappingKey } from './wrapping.ts'

/** The keys of subjects: kept in a key store, wrapped there, and unwrapped in memory for a while. */
export class SubjectKeys {
  readonly #store: KeyStore
  readonly #wrapping: readonly WrappingKey[]
  /** Unwrapped keys by subject, the oldest first. They count only for as long as the key store has the same entry. */
  readonly #unwrapped = new Map<string, Unwrapped>()

  constructor(store: KeyStore, wrapping: readonly WrappingKey[]) {
    this.#store = store
    this.#wrapping = wrapping
  }

  /**
   * The keys of subjects, to seal with: made if they have none.
   *
   * @throws SubjectErasedError, KeyStoreError, SealBrokenError
   */
  async toSeal(subjects: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>> {
    const entries = await this.#get(subjects)
    const keys = new Map<string, Uint8Array>()
    await Promise.all(
      subjects.map(async (subject) => {
        const entry = entries.get(subject) ?? (await this.#make(subject))
        if ('erasedAt' in entry) throw new SubjectErasedError(subject, entry.erasedAt)
        keys.set(subject, await this.#unwrap(entry))
      }),
    )
    return keys
  }

  /**
   * The keys of subjects, to open with, or their tombstones.
   *
   * @throws KeyStoreError; SealBrokenError if there is neither: the key is lost, or is kept elsewhere.
   */
  async toOpen(subjects: readonly string[]): Promise<ReadonlyMap<string, Uint8Array | Tombstone>> {
    const entries = await this.#get(subjects)
    const keys = new Map<string, Uint8Array | Tombstone>()
    await Promise.all(
      subjects.map(async (subject) => {
        const entry = entries.get(subject)
        if (!entry) throw new SealBrokenError(keyMissing(subject))
        keys.set(subject, 'erasedAt' in entry ? entry : await this.#unwrap(entry))
      }),
    )
    return keys
  }

  /** Destroys a subject's key. @throws KeyStoreError */
  async destroy(tombstone: Tombstone): Promise<Destroyed> {
    const { subject } = tombstone
    const before = (await this.#get([subject])).get(subject)
    const { erasedAt } = await this.#ask(() => this.#store.destroy(tombstone))
    this.#forget(subject)
    const outcome = !before ? 'unknown-subject' : 'erasedAt' in before ? 'already-erased' : 'erased'
    return { erasedAt, outcome }
  }

  /** Wraps every key by the first wrapping key. @returns how many were wrapped by another one. */
  async rewrap(): Promise<number> {
    let count = 0
    let after: string | undefined
    for (;;) {
      const entries = await this.#ask(() => this.#store.list(after, KEYS_PER_PAGE))
      for (const entry of entries) {
        if ('erasedAt' in entry || entry.wrappedBy === this.#wrapping[0]!.id) continue
        const key = await this.#wrap(entry.subject, await this.#unwrap(entry))
        await this.#ask(() => this.#store.put(key, entry))
        count++
      }
      after = entries.at(-1)?.subject
      if (entries.length < KEYS_PER_PAGE) return count
    }
  }

  async #get(subjects: readonly string[]): Promise<ReadonlyMap<string, KeyEntry>> {
    const entries = new Map<string, KeyEntry>()
    for (const entry of await this.#ask(() => this.#store.get(subjects))) {
      entries.set(entry.subject, entry)
      if ('erasedAt' in entry) this.#forget(entry.subject)
    }
    return entries
  }

  /** Makes a subject's key. If several processes do at once, all get the same one. */
  async #make(subject: string): Promise<KeyEntry> {
    const key = await this.#wrap(subject, secureBytes(KEY_BYTES))
    return this.#ask(() => this.#store.put(key))
  }

  async #wrap(subject: string, key: Uint8Array): Promise<WrappedKey> {
    const { id } = this.#wrapping[0]!
    const wrapped = await this.#ask(() => this.#wrapping[0]!.wrap(key, { subject }))
    return { subject, key: Buffer.from(wrapped).toString('base64'), wrappedBy: id }
  }

  async #unwrap({ subject, key: text, wrappedBy }: WrappedKey): Promise<Uint8Array> {
    this.#forgetOld()
    const known = this.#unwrapped.get(subject)
    if (known?.text === text) return known.key
    const wrapping = this.#wrapping.find(({ id }) => id === wrappedBy)
    if (!wrapping) {
      throw new SealBrokenError(
        `the key of subject ${subject} was wrapped by '${wrappedBy}', which the key ring does not have: add it to wrap`,
      )
    }
    const key = await this.#ask(() => wrapping.unwrap(Buffer.from(text, 'base64'), { subject }))
    this.#unwrapped.delete(subject)
    this.#unwrapped.set(subject, { text, key, at: environment.now() })
    return key
  }

  #forgetOld(): void {
    const oldest = environment.now() - UNWRAPPED_LIFE_MS
    for (const [subject, { at }] of this.#unwrapped) {
      if (at > oldest && this.#unwrapped.size < MAX_UNWRAPPED) return
      this.#forget(subject)
    }
  }

  #forget(subject: string): void {
    this.#unwrapped.delete(subject)
  }

  /** Asks the key store, or a wrapping key: what fails there is no verdict on a subject. @throws KeyStoreError */
  async #ask<T>(call: () => T | Promise<T>): Promise<T> {
    try {
      return await call()
    } catch (error) {
      if (isMnemeError(error) && (error.code === 'SEAL_BROKEN' || error.code === 'KEY_STORE_FAILED'))
        throw error
      const message =
        'the keys of personal data cannot be reached: nothing was sealed or opened; see the cause'
      throw new KeyStoreError(message, { cause: error })
    }
  }
}

interface Unwrapped {
  /** The wrapped key. */
  readonly text: string
  readonly key: Uint8Array
  readonly at: number
}

function keyMissing(subject: string): string {
  return (
    `there is no key for subject ${subject}, and no tombstone either: the key store is another one, or was restored to an ` +
    'earlier time; open the store with the keys that belong to it'
  )
}

/** How long an unwrapped key stays in memory after it was unwrapped, in milliseconds. */
const UNWRAPPED_LIFE_MS = 300_000
const MAX_UNWRAPPED = 10_000
const KEYS_PER_PAGE = 100
