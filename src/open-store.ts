import { InvalidArgumentError, quote } from './base/errors.ts'
import type { EventStore, StoreOptions } from './store/event-store.ts'

/**
 * Opens a store by URL: `memory:`, `sqlite:bank.db`, `sqlite::memory:`, `postgres://user@host/database` or
 * `kurrentdb://host:2113`. Loads only that store's code.
 *
 * @throws InvalidArgumentError if no store has such a URL.
 * @throws OpenError if the store cannot be opened.
 * @example
 * ```ts
 * const store = await openStore('memory:')
 * ```
 */
export async function openStore(url: string, options: StoreOptions = {}): Promise<EventStore> {
  if (typeof (url as unknown) !== 'string') throw new InvalidArgumentError('url', 'a string')
  const scheme = /^([a-z]+(?:\+discover)?):/.exec(url)?.[1]
  switch (scheme) {
    case 'memory': {
      const { memoryStore } = await import('./stores/memory/index.ts')
      return memoryStore(options)
    }
    case 'sqlite':
    case 'file': {
      const { sqliteStore } = await import('./stores/sqlite/index.ts')
      return sqliteStore(url, options)
    }
    case 'postgres':
    case 'postgresql': {
      const { postgresStore } = await import('./stores/postgres/index.ts')
      return postgresStore(url, options)
    }
    case 'kurrentdb':
    case 'kurrentdb+discover':
    case 'kurrent':
    case 'kurrent+discover':
    case 'kdb':
    case 'kdb+discover':
    case 'esdb':
    case 'esdb+discover': {
      const { kurrentdbStore } = await import('./stores/kurrentdb/index.ts')
      return kurrentdbStore(url, options)
    }
    default: {
      // A URL may contain a password: the message repeats only the scheme.
      const given = scheme === undefined ? 'one without a scheme' : quote(`${scheme}:`)
      throw new InvalidArgumentError(
        'url',
        `a URL like memory:, sqlite:bank.db, file:///bank.db, postgres://user@host/database or kurrentdb://host:2113, not ${given}`,
      )
    }
  }
}
