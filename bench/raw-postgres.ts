import pg from 'pg'

import { NOTE } from './account.ts'
import { accountOf, BALANCES, UPSERT } from './balances.ts'

/** A table as the store's own, written and read by the driver as a careful program without a library would do it. */
export class RawPostgres {
  readonly #clients: readonly pg.Client[]

  private constructor(clients: readonly pg.Client[]) {
    this.#clients = clients
  }

  /** Makes the table, and the function that does the same insert under a lock of the whole store. */
  static async create(url: string): Promise<void> {
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    await client.query(TABLE)
    await client.end()
  }

  /** Connects as often as there are callers. */
  static async open(url: string, callers: number): Promise<RawPostgres> {
    const clients = Array.from({ length: callers }, () => new pg.Client({ connectionString: url }))
    // Where another figure fails, the database is dropped under it: what is told is that failure.
    for (const client of clients) client.on('error', () => undefined)
    await Promise.all(clients.map((client) => client.connect()))
    return new RawPostgres(clients)
  }

  /** Each caller, on a connection and a stream of its own, inserts events one by one, each durable by itself. */
  async insert(count: number, statement = INSERT): Promise<void> {
    const run = nextStream()
    const caller = async (client: pg.Client, i: number) => {
      const stream = `${run}-${String(i)}`
      for (let revision = 0; revision < count; revision++) {
        const { name, text } = statement
        await client.query({ name, text, values: valuesOf(stream, revision) })
      }
    }
    await Promise.all(this.#clients.map(caller))
  }

  /** The same, one caller after the other. */
  insertLocked(count: number): Promise<void> {
    return this.insert(count, INSERT_LOCKED)
  }

  /** Inserts batches of events, each by one statement with parameters of its own for each of them. */
  async insertRows(batches: number, size: number): Promise<void> {
    const rows = Array.from({ length: size }, (_, row) => {
      const parameters = Array.from({ length: 8 }, (_, column) => `$${String(row * 8 + column + 1)}`)
      return `(${parameters.join(', ')})`
    })
    const text = `INSERT INTO raw_events (${COLUMNS}) VALUES ${rows.join(', ')}`
    const stream = nextStream()
    for (let batch = 0; batch < batches; batch++) {
      const values = rows.flatMap((_, row) => valuesOf(stream, batch * size + row))
      await this.#clients[0]!.query({ name: `rows-${String(size)}`, text, values })
    }
  }

  /** Inserts batches of events, each by one statement with an array for each column. */
  async insertArrays(batches: number, size: number): Promise<void> {
    const stream = nextStream()
    for (let batch = 0; batch < batches; batch++) {
      const values: unknown[][] = Array.from({ length: 8 }, () => [])
      for (let row = 0; row < size; row++) {
        valuesOf(stream, batch * size + row).forEach((value, column) => values[column]!.push(value))
      }
      await this.#clients[0]!.query({ name: 'arrays', text: INSERT_ARRAYS, values })
    }
  }

  /** Empties the table and fills it with events, to be read. */
  async refill(count: number): Promise<void> {
    await this.#clients[0]!.query('TRUNCATE raw_events')
    await this.insertArrays(count / 10_000, 10_000)
  }

  /** Reads every row by one query, with its JSON parsed by the driver. */
  async readAll(): Promise<number> {
    const { rows } = await this.#clients[0]!.query({
      name: 'all',
      text: 'SELECT * FROM raw_events ORDER BY position',
    })
    return rows.length
  }

  /** The same in pages of 1,000. */
  async readPages(): Promise<number> {
    const text = 'SELECT * FROM raw_events WHERE position > $1 ORDER BY position LIMIT 1000'
    let count = 0
    for (let after = '0'; ;) {
      const { rows } = await this.#clients[0]!.query<{ position: string }>({
        name: 'page',
        text,
        values: [after],
      })
      count += rows.length
      if (rows.length < 1_000) return count
      after = rows.at(-1)!.position
    }
  }

  /** Makes a read model of all rows: a batch of the next thousand, and how far it has come, in one transaction. */
  async project(): Promise<number> {
    const client = this.#clients[0]!
    await client.query(`DROP TABLE IF EXISTS raw_balances, raw_checkpoint`)
    await client.query(BALANCES.replace('balances', 'raw_balances'))
    await client.query('CREATE TABLE raw_checkpoint AS SELECT 0::bigint AS position')
    const next = {
      name: 'next',
      text: 'SELECT * FROM raw_events WHERE position > $1 ORDER BY position LIMIT 1000',
    }
    const upsert = { name: 'upsert', text: UPSERT.replaceAll('balances', 'raw_balances') }
    const move = { name: 'move', text: 'UPDATE raw_checkpoint SET position = $1' }
    let count = 0
    for (let at = '0'; ;) {
      const { rows } = await client.query<RawRow>({ ...next, values: [at] })
      if (rows.length === 0) return count
      await client.query('BEGIN')
      for (const { position, stream, revision, data } of rows) {
        const { amount } = JSON.parse(data) as { amount: number }
        await client.query({ ...upsert, values: [accountOf({ stream, revision }), amount] })
        at = position
        count++
      }
      await client.query({ ...move, values: [at] })
      await client.query('COMMIT')
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.end()))
  }
}

interface RawRow {
  readonly position: string
  readonly stream: string
  readonly revision: string
  readonly data: string
}

/** A stream that nobody has written to. */
function nextStream(): string {
  return `Raw-${String(process.pid)}-${String(streams++)}`
}

let streams = 0

function valuesOf(stream: string, revision: number): unknown[] {
  const time = new Date().toISOString()
  const data = JSON.stringify({ amount: revision, note: NOTE })
  return [stream, revision, crypto.randomUUID(), 'Account.Deposited', 1, time, data, '{}']
}

const COLUMNS = 'stream, revision, id, type, version, time, data, metadata'

const INSERT = {
  name: 'insert',
  text: `INSERT INTO raw_events (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
}

const INSERT_LOCKED = { name: 'locked', text: 'SELECT insert_locked($1, $2, $3, $4, $5, $6, $7, $8)' }

const INSERT_ARRAYS = `INSERT INTO raw_events (${COLUMNS}) SELECT * FROM unnest(
  $1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::bigint[], $6::timestamptz[], $7::text[], $8::text[])`

const TABLE = `
CREATE TABLE raw_events (
  position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  stream text COLLATE "C" NOT NULL,
  revision bigint NOT NULL,
  id uuid NOT NULL,
  type text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  time timestamptz NOT NULL,
  data text NOT NULL,
  metadata text NOT NULL,
  UNIQUE (stream, revision)
);
CREATE FUNCTION insert_locked(text, bigint, uuid, text, bigint, timestamptz, text, text) RETURNS void
LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_advisory_xact_lock(1);
  INSERT INTO raw_events (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8);
END $$`
