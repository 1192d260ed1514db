import { expect, test } from 'vitest'

import { faultOf, isBusy, isNoDatabase } from '../../../src/stores/sqlite/errors.ts'

test('an error that has only the text of SQLite is recognised, as Deno 2.9 throws it from exec', () => {
  const error = (message: string) => Object.assign(new Error(message), { code: 'ERR_SQLITE_ERROR' })
  expect(isBusy(error('database is locked'))).toBe(true)
  expect(isBusy(error('no such table: locks'))).toBe(false)
  expect(isNoDatabase(error('file is not a database'))).toBe(true)
  expect(faultOf(error('database or disk is full')).code).toBe('STORE_FULL')
})
