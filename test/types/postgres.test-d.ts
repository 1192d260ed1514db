import { postgresStore, type PostgresPool } from 'mneme/postgres'
import pg from 'pg'
import { expectTypeOf, test } from 'vitest'

test('a pool of node-postgres is one, a single client is not', () => {
  expectTypeOf<pg.Pool>().toExtend<PostgresPool>()
  expectTypeOf<pg.Client>().not.toExtend<PostgresPool>()
  expectTypeOf(postgresStore).toBeCallableWith(new pg.Pool())
  expectTypeOf(postgresStore).toBeCallableWith({
    host: 'localhost',
    ssl: { rejectUnauthorized: true },
    max: 20,
  })
  expectTypeOf(postgresStore).toBeCallableWith('postgres://localhost/bank', { schema: 'bank' })
})
