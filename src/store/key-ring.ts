import type { Tombstone } from '../adapter/key-store.ts'
import type { Subject } from '../model/sealed.ts'

/** Seals the personal data of a store's events, and opens it. Made by `keyRing` of `mneme/erasure`. */
export interface KeyRing {
  /** Where its keys are, if the key store says it. */
  readonly place: string | undefined
  /** The keyed hash of a subject, under which it stands in events and in the key store. */
  hashOf(subject: Subject): string
  /** The keyed hash of the subject of a sealed text. @throws SealBrokenError if the text is none. */
  subjectOf(text: string): string
  /** The keyed hash of a text. */
  hash(text: string): string
  /**
   * Seals values, each under the key of its subject, which is made with the first value.
   *
   * @throws SubjectErasedError, KeyStoreError, SealBrokenError
   */
  seal(values: readonly ToSeal[]): Promise<string[]>
  /** Opens sealed texts. @throws KeyStoreError, SealBrokenError */
  open(texts: readonly string[]): Promise<Opened[]>
  /** Destroys the key of a subject, for good. @throws KeyStoreError */
  destroy(hash: string, erasedAt: string): Promise<Destroyed>
  /**
   * Wraps every key anew that is not wrapped by the first wrapping key, which is how that key is rotated: afterwards the others
   * can go.
   *
   * @returns how many keys were wrapped anew.
   * @throws KeyStoreError, SealBrokenError
   */
  rewrap(): Promise<number>
}

/** What is known of a destroyed key. */
export interface Destroyed {
  /** When it was destroyed: ISO 8601, UTC. */
  readonly erasedAt: string
  readonly outcome: ErasureOutcome
}

/**
 * What an erasure found when it began: `'erased'`: a key, which it has destroyed; `'already-erased'`: the key had been destroyed
 * before; `'unknown-subject'`: neither, so nothing was ever sealed for this subject.
 */
export type ErasureOutcome = 'erased' | 'already-erased' | 'unknown-subject'

/** A value to be sealed, and its place. */
export interface ToSeal {
  /** JSON. */
  readonly text: string
  readonly subject: Subject
  /** The id of the event. */
  readonly id: string
  /** The path in its data. */
  readonly path: string
}

/** A sealed value that was opened, or the tombstone of its subject. */
export type Opened = { readonly value: unknown } | Tombstone
