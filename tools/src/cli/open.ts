import { basename } from 'node:path'
import { type EventStore, openStore } from 'mneme'
import { postgresStore, postgresTarget } from 'mneme/postgres'
import type { ProjectionTarget } from 'mneme/projections'
import { sqliteStore, sqliteTarget } from 'mneme/sqlite'

import { UsageError } from './errors.ts'

/** The URL of a command's first argument, or of MNEME_URL if the first argument is none. */
export function takeUrl(
  given: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): { readonly url: string; readonly rest: readonly string[] } {
  const [first, ...rest] = given
  if (first !== undefined && SCHEME.test(first)) return { url: first, rest }
  const url = env.MNEME_URL
  if (url !== undefined && url !== '') return { url, rest: given }
  // What has an @ may be a mistyped URL with a password.
  const hint =
    first === undefined || first.includes('@') ? '' : `, not '${first}' (a file is 'sqlite:${first}')`
  throw new UsageError(
    `a store is given by its URL, like sqlite:bank.db or postgres://user@host/database, or by MNEME_URL${hint}`,
  )
}

const SCHEME = /^(?:memory|sqlite|file|postgres|postgresql|(?:kurrentdb|kurrent|kdb|esdb)(?:\+discover)?):/

/** Opens a store that is there. Nothing is made or migrated. @throws OpenError, UsageError */
export async function openExisting(url: string): Promise<EventStore> {
  if (url.startsWith('memory:') || url === 'sqlite::memory:') {
    throw new UsageError('a store in memory is seen by its own process only: mount the tools there')
  }
  if (/^(?:sqlite|file):/.test(url)) return sqliteStore(url, { migrate: false })
  if (url.startsWith('postgres')) return postgresStore(url, { migrate: false })
  return openStore(url)
}

/** The database of a URL, as one that holds projections. Nothing is made or migrated. @throws UsageError */
export function targetAt(url: string): ProjectionTarget<unknown> {
  if (/^(?:sqlite|file):/.test(url)) return sqliteTarget(url, { migrate: false })
  if (url.startsWith('postgres')) return postgresTarget(url, { migrate: false })
  throw new UsageError(
    'projections and timers are kept in SQLite or PostgreSQL: give the URL of that database',
  )
}

/** What a store is called where it is shown: without a user, a password, or folders. */
export function nameOf(url: string): string {
  if (/^(?:sqlite|file):/.test(url)) return basename(url.replace(/^\w+:/, '').replace(/\?.*$/, ''))
  return url.replace(/^[^:]*:\/\/(?:.*@)?/s, '').replace(/\/?(?:\?.*)?$/s, '')
}
