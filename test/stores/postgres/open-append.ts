import type { TestDatabase } from './database.ts'

/** A transaction that appends by the schema's own function, and is not over. */
export async function begin(database: TestDatabase, stream: string) {
  const client = await database.client()
  await client.query('BEGIN ISOLATION LEVEL READ COMMITTED')
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
  return {
    pid: rows[0]!.pid,
    append: async () => {
      const id = crypto.randomUUID()
      await client.query(`SELECT mneme.append_one($1, -3, $2, 5000, $2, 'Happened', 1, '{"n":0}', '{}')`, [
        stream,
        id,
      ])
      return id
    },
    end: (how: 'COMMIT' | 'ROLLBACK') => client.query(how),
  }
}
