import { InvalidArgumentError } from 'mneme'
import { type SqliteDriver, sqliteTarget } from 'mneme/sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { ProjectionTarget, TargetRow } from '../../src/adapter/projection-target.ts'
import { postgresTarget } from '../../src/stores/postgres/index.ts'
import { testDatabase } from '../stores/postgres/database.ts'
import { serverProblem } from '../stores/postgres/server.ts'
import { drivers } from '../stores/sqlite/drivers.ts'
import { sql } from './rig.ts'

describe.each(drivers)('query, with $name', ({ driver }) => {
  test('a mistake in the SQL is not retryable, and the error says what the database said', async () => {
    const target = await sqliteLoans(driver)
    await expectRefused(target, 'SELECT dew FROM loans', 'SQLite refused the query: no such column: dew')
    await expectRefused(target, 'SELEC 1', 'SQLite refused the query: near "SELEC": syntax error')
    await expectRefused(target, "SELECT json('{') FROM loans", 'SQLite refused the query: malformed JSON')
    await expectRefused(target, 'SELECT book FROM loans', 'SQLite refused the query: ', ['too many'])
  })

  test('query only reads: a statement that writes is refused, and leaves no transaction behind', async () => {
    const target = await sqliteLoans(driver)
    const writes = [
      'DELETE FROM loans',
      "INSERT INTO loans VALUES ('Ulysses', 4) RETURNING book",
      'WITH late AS (SELECT 1) UPDATE loans SET due = 9 RETURNING due',
      'DROP TABLE loans',
      'PRAGMA user_version = 7',
    ]
    for (const text of writes) {
      await expectRefused(target, text, 'query only reads')
      expect(await target.query('SELECT * FROM loans')).toEqual([{ book: 'Emma', due: 3 }])
    }
    await expectRefused(target, 'BEGIN', '')
    await sql(target, 'UPDATE loans SET due = 4')
    expect(await target.query('WITH all_loans AS (SELECT * FROM loans) SELECT due FROM all_loans')).toEqual([
      { due: 4 },
    ])
    expect(await target.query('PRAGMA user_version')).toEqual([
      { user_version: expect.any(Number) as number },
    ])
  })
})

describe.skipIf(serverProblem)(`query, with PostgreSQL ${serverProblem ?? ''}`, () => {
  test('a mistake in the SQL is not retryable, and the error says what the database said', async () => {
    const target = await postgresLoans()
    const refused = 'PostgreSQL refused the query: '
    await expectRefused(target, 'SELECT dew FROM loans', `${refused}column "dew" does not exist`)
    await expectRefused(target, 'SELEC 1', `${refused}syntax error at or near "SELEC"`)
    await expectRefused(target, 'SELECT 1 / (due - 3) FROM loans', `${refused}division by zero`)
    // No message of Mneme's holds parameters.
    const invalid = `${refused}invalid input syntax for type integer: "…"; correct its SQL or its values`
    await expectRefused(target, 'SELECT $1::int', invalid, ['a secret "in" quotes'])
    expect(await target.query('SELECT book FROM loans')).toEqual([{ book: 'Emma' }])
  })
})

function sqliteLoans(driver: SqliteDriver) {
  return withLoans(sqliteTarget(':memory:', { driver }))
}

async function postgresLoans() {
  return withLoans(postgresTarget((await testDatabase()).url))
}

async function withLoans(target: ProjectionTarget<unknown>) {
  onTestFinished(() => target.close())
  await sql(target, 'CREATE TABLE loans (book TEXT, due INTEGER)')
  await sql(target, "INSERT INTO loans VALUES ('Emma', 3)")
  return target
}

async function expectRefused(
  target: ProjectionTarget<unknown>,
  text: string,
  message: string,
  values: readonly string[] = [],
) {
  const error = await target.query(text, values).then(
    (rows: readonly TargetRow[]) => rows,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(InvalidArgumentError)
  expect(error).toMatchObject({ isRetryable: false, argument: 'sql' })
  expect((error as Error).message).toContain(message)
  expect((error as Error).message).not.toContain('secret')
}
