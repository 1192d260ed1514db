import { KurrentDBClient } from '@kurrent/kurrentdb-client'
import { kurrentdbStore } from 'mneme/kurrentdb'
import { expectTypeOf, test } from 'vitest'

test("the driver's client fits", () => {
  expectTypeOf(kurrentdbStore).toBeCallableWith(
    KurrentDBClient.connectionString`kurrentdb://localhost?tls=false`,
  )
  expectTypeOf(kurrentdbStore).toBeCallableWith('kurrentdb://localhost?tls=false', { deadline: 1_000 })
})
