import assert, { AssertionError } from 'node:assert'
import { expect } from 'vitest'

/** The error of an expectation that must not hold. */
export async function failure(expectation: Promise<void>): Promise<AssertionError> {
  const error: unknown = await expectation.then(
    () => expect.unreachable('the expectation holds'),
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof AssertionError)
  return error
}
