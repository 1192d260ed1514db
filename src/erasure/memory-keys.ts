import type { KeyEntry, KeyStore } from '../adapter/key-store.ts'

/**
 * Keys in the memory of this process, for tests: what they sealed cannot be opened afterwards.
 *
 * @example
 * ```ts
 * const keys = memoryKeys()
 * ```
 */
export function memoryKeys(): KeyStore {
  const entries = new Map<string, KeyEntry>()
  return {
    get: (subjects) => Promise.resolve(subjects.flatMap((subject) => entries.get(subject) ?? [])),
    put: (key, replaced) => {
      const entry = entries.get(key.subject)
      const isFree = replaced ? entry && 'key' in entry && entry.key === replaced.key : !entry
      if (isFree) entries.set(key.subject, key)
      return Promise.resolve(entries.get(key.subject)!)
    },
    destroy: (tombstone) => {
      const entry = entries.get(tombstone.subject)
      if (entry && 'erasedAt' in entry) return Promise.resolve(entry)
      entries.set(tombstone.subject, tombstone)
      return Promise.resolve(tombstone)
    },
    list: (after = '', limit) => {
      const subjects = [...entries.keys()].filter((subject) => subject > after).sort()
      return Promise.resolve(subjects.slice(0, limit).map((subject) => entries.get(subject)!))
    },
  }
}
