/**
 * Where the keys of subjects are kept: a database or file of its own, in no backup together with the events. `memoryKeys` of
 * `mneme/erasure`, `sqliteKeys` and `postgresKeys` make one; any object with these four functions is one. An error that it
 * throws counts as a passing failure.
 */
export interface KeyStore {
  /** What is kept for each of these subjects at this moment, in any order; subjects without an entry are left out. Never from a cache. */
  get(subjects: readonly string[]): Promise<readonly KeyEntry[]>
  /**
   * Keeps a key, durably, if the subject has no entry; or, given `replaced`, if its entry is that very key. In one atomic
   * step.
   *
   * @returns what is kept for the subject afterwards.
   */
  put(key: WrappedKey, replaced?: WrappedKey): Promise<KeyEntry>
  /**
   * Puts a tombstone in the place of a subject's entry, durably, also if it has none; an earlier tombstone stays. The key
   * must be gone from the data when it resolves.
   *
   * @returns the tombstone that is kept.
   */
  destroy(tombstone: Tombstone): Promise<Tombstone>
  /** The entries with a subject behind `after` in the order of their names, at most `limit`. */
  list(after: string | undefined, limit: number): Promise<readonly KeyEntry[]>
  /** Where the keys are, like `sqlite:/data/keys.db`: a store in the same place is refused. */
  readonly place?: string | undefined
}

/** What is kept for a subject. */
export type KeyEntry = WrappedKey | Tombstone

/** A subject's key. */
export interface WrappedKey {
  /** The keyed hash of the subject, in hexadecimal. */
  readonly subject: string
  /** The key, encrypted by the wrapping key, in base64. */
  readonly key: string
  /** The id of the wrapping key. */
  readonly wrappedBy: string
}

/** In the place of a key that was destroyed. */
export interface Tombstone {
  readonly subject: string
  /** When it was destroyed: ISO 8601, UTC. */
  readonly erasedAt: string
}
