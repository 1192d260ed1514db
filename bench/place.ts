import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { EventStore } from 'mneme'
import { postgresStore } from 'mneme/postgres'
import { sqliteStore } from 'mneme/sqlite'

import { freshDatabase } from './postgres-server.ts'

/** Where a store is to be measured: empty at first. */
export interface Place {
  readonly name: 'SQLite' | 'PostgreSQL'
  /** The file, or the URL. */
  readonly location: string
  /** Removes it. */
  end(): Promise<void>
}

/** One after the other, each removed when the next one is asked for. */
export async function* places(): AsyncGenerator<Place> {
  for (const place of [sqlitePlace, postgresPlace]) {
    const opened = await place()
    try {
      yield opened
    } finally {
      await opened.end()
    }
  }
}

async function sqlitePlace(): Promise<Place> {
  const folder = await mkdtemp(join(process.env.MNEME_BENCH_DIR ?? tmpdir(), 'mneme-bench-'))
  return {
    name: 'SQLite',
    location: join(folder, 'mneme.db'),
    end: () => rm(folder, { recursive: true }),
  }
}

async function postgresPlace(): Promise<Place> {
  const { url, end } = await freshDatabase()
  return { name: 'PostgreSQL', location: url, end }
}

/** The store there. */
export function storeAt(location: string): Promise<EventStore> {
  return isPostgres(location) ? postgresStore(location, { prepare: true }) : sqliteStore(location)
}

export function isPostgres(location: string): boolean {
  return location.startsWith('postgres')
}
