import { createRequire } from 'node:module'

import { NOTE } from './account.ts'
import { accountOf, BALANCES, UPSERT } from './balances.ts'

/** As much of a SQLite driver as the raw side of a comparison needs. */
interface Database {
  exec(sql: string): unknown
  prepare(sql: string): {
    run(...parameters: unknown[]): unknown
    all(...parameters: unknown[]): unknown[]
    iterate(...parameters: unknown[]): IterableIterator<unknown>
  }
  close(): void
}

interface Row {
  readonly position: number
  readonly stream: string
  readonly revision: number
  readonly data: string
  readonly metadata: string
}

/** A table as the store's own, written and read by prepared statements and nothing else. */
export class RawSqlite {
  readonly #database: Database
  readonly #insert: ReturnType<Database['prepare']>
  readonly #all: ReturnType<Database['prepare']>
  #run = 0

  constructor(file: string) {
    this.#database = openDatabase(file)
    this.#database.exec('PRAGMA journal_mode = WAL')
    this.#database.exec('PRAGMA synchronous = FULL')
    this.#database.exec(`CREATE TABLE events (
      position INTEGER PRIMARY KEY, stream TEXT NOT NULL, revision INTEGER NOT NULL, id TEXT NOT NULL,
      type TEXT NOT NULL, version INTEGER NOT NULL, time TEXT NOT NULL, data TEXT NOT NULL,
      metadata TEXT NOT NULL, UNIQUE (stream, revision)
    ) STRICT`)
    this.#insert = this.#database.prepare(
      'INSERT INTO events (stream, revision, id, type, version, time, data, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
    )
    this.#all = this.#database.prepare('SELECT * FROM events ORDER BY position')
  }

  /** Inserts events one by one, each durable by itself. */
  insert(count: number): void {
    const stream = `Raw-${String(this.#run++)}`
    for (let revision = 0; revision < count; revision++) {
      const time = new Date().toISOString()
      const data = JSON.stringify({ amount: revision, note: NOTE })
      this.#insert.run(stream, revision, crypto.randomUUID(), 'Account.Deposited', 1, time, data, '{}')
    }
  }

  /** Inserts events in one transaction, to be read. */
  fill(count: number): void {
    this.#database.exec('BEGIN')
    this.insert(count)
    this.#database.exec('COMMIT')
  }

  /** Inserts events of many streams in one transaction, one after the other of each. */
  insertMany(first: number, count: number, streams: number): void {
    this.#database.exec('BEGIN')
    const run = String(this.#run)
    for (let n = first; n < first + count; n++) {
      const data = JSON.stringify({ amount: n, note: NOTE })
      const [stream, revision] = [`Raw${run}-${String(n % streams)}`, Math.floor(n / streams)]
      const time = new Date().toISOString()
      this.#insert.run(stream, revision, crypto.randomUUID(), 'Account.Deposited', 1, time, data, '{}')
    }
    this.#database.exec('COMMIT')
  }

  /** Begins with new streams. */
  nextRun(): void {
    this.#run++
  }

  /** Reads every row, and parses what is stored as JSON. */
  readAll(): number {
    let count = 0
    for (const row of this.#all.iterate()) {
      const { data, metadata } = row as Row
      JSON.parse(data)
      JSON.parse(metadata)
      count++
    }
    return count
  }

  /** Makes a read model of all rows: a batch of the next thousand, and how far it has come, in one transaction. */
  project(): number {
    const database = this.#database
    database.exec(`DROP TABLE IF EXISTS balances; ${BALANCES}`)
    database.exec('CREATE TABLE IF NOT EXISTS checkpoint (position INTEGER NOT NULL)')
    database.exec('DELETE FROM checkpoint; INSERT INTO checkpoint VALUES (0)')
    const next = database.prepare('SELECT * FROM events WHERE position > ? ORDER BY position LIMIT 1000')
    const upsert = database.prepare(UPSERT.replace(/\$\d/g, '?'))
    const move = database.prepare('UPDATE checkpoint SET position = ?')
    let count = 0
    for (let at = 0; ;) {
      const rows = next.all(at) as Row[]
      if (rows.length === 0) return count
      database.exec('BEGIN IMMEDIATE')
      for (const { position, stream, revision, data } of rows) {
        const { amount } = JSON.parse(data) as { amount: number }
        upsert.run(accountOf({ stream, revision }), amount)
        at = position
        count++
      }
      move.run(at)
      database.exec('COMMIT')
    }
  }

  close(): void {
    this.#database.close()
  }
}

/** The driver that the store takes by itself. */
export function openDatabase(file: string): Database {
  const require = createRequire(import.meta.url)
  try {
    const { DatabaseSync } = require('node:sqlite') as { DatabaseSync: new (file: string) => Database }
    return new DatabaseSync(file)
  } catch {
    const BetterSqlite3 = require('better-sqlite3') as new (file: string) => Database
    return new BetterSqlite3(file)
  }
}
