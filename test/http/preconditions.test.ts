import type { ExpectedRevision, Revision } from 'mneme'
import { etagOf } from 'mneme/http'
import { expect, test } from 'vitest'
import { Preconditions } from '../../src/http/preconditions.ts'

const of = (headers: Record<string, string>, representation = '') =>
  new Preconditions(new Headers(headers), representation)

test('an entity tag is strong and names the revision and the representation', () => {
  expect(etagOf(3)).toBe('"3"')
  expect(etagOf(3, 'v2')).toBe('"3.v2"')
  expect(etagOf('none')).toBeUndefined()
  for (const wrong of [NaN, -1, 1.5, Infinity, undefined, '3'] as number[]) {
    expect(() => etagOf(wrong)).toThrow("revision must be a revision (a whole number from 0) or 'none'")
  }
  expect(() => etagOf(3, 'a "b"')).toThrow("representation must be a name of letters, digits and '_.-'")
})

// What a request expects before the revision is known, and for which revisions its preconditions hold.
test.each<
  [headers: Record<string, string>, expected: ExpectedRevision | undefined | '412', holds: Revision[]]
>([
  [{}, undefined, ['none', 0, 1, 2, 3, 4]],
  [{ 'If-Match': '"3"' }, 3, [3]],
  [{ 'If-Match': ' "3" ' }, 3, [3]],
  [{ 'If-Match': '*' }, 'exists', [0, 1, 2, 3, 4]],
  [{ 'If-Match': '"1", "3"' }, 3, [1, 3]],
  [{ 'If-Match': '"1","3" , ,"0"' }, 3, [0, 1, 3]],
  [{ 'If-Match': 'W/"3"' }, '412', []],
  [{ 'If-Match': 'W/"3", "2"' }, 2, [2]],
  [{ 'If-Match': '"a,b", "3"' }, 3, [3]],
  [{ 'If-Match': '"03"' }, '412', []],
  [{ 'If-Match': '"3.v2"' }, '412', []],
  [{ 'If-Match': '""' }, '412', []],
  [{ 'If-None-Match': '*' }, 'none', ['none']],
  [{ 'If-None-Match': '"3"' }, 4, ['none', 0, 1, 2, 4]],
  [{ 'If-None-Match': 'W/"3", "4"' }, 5, ['none', 0, 1, 2]],
  [{ 'If-None-Match': '"abc"' }, undefined, ['none', 0, 1, 2, 3, 4]],
  [{ 'If-Match': '*', 'If-None-Match': '"3"' }, 4, [0, 1, 2, 4]],
  [{ 'If-Match': '*', 'If-None-Match': '"abc"' }, 'exists', [0, 1, 2, 3, 4]],
  [{ 'If-Match': '"2", "3"', 'If-None-Match': '"3"' }, 2, [2]],
  [{ 'If-Match': '"3"', 'If-None-Match': '"3"' }, '412', []],
  [{ 'If-Match': '"3"', 'If-None-Match': '*' }, '412', []],
  [{ 'If-Match': '*', 'If-None-Match': '*' }, '412', []],
])('%j', (headers, expected, holds) => {
  const preconditions = of(headers)
  if (expected === '412')
    expect(() => preconditions.expectation()).toThrow(/does not hold: read the resource/)
  else expect(preconditions.expectation()).toBe(expected)
  const revisions: Revision[] = ['none', 0, 1, 2, 3, 4]
  expect(revisions.filter((one) => preconditions.matches(one) && preconditions.differs(one))).toEqual(holds)
  for (const revision of revisions) {
    if (holds.includes(revision)) expect(preconditions.expectation(revision)).toBe(revision)
    else expect(() => preconditions.expectation(revision)).toThrow(/does not hold/)
  }
})

test('a tag of another representation does not match', () => {
  expect(of({ 'If-Match': '"3.v2"' }, 'v2').expectation()).toBe(3)
  expect(() => of({ 'If-Match': '"3"' }, 'v2').expectation()).toThrow(/If-Match does not hold/)
})

test.each(['3', '"3', '"3" "4"', '*, "3"', '', ',', "'3'", '"3"; q=1', 'w/"3"', '"a"b"'])(
  'the malformed If-Match %j is refused',
  (value) => {
    expect(() => of({ 'If-Match': value })).toThrow(
      'If-Match is malformed; write entity tags in double quotes',
    )
  },
)

test('a long malformed header is refused in linear time', () => {
  for (const value of [' '.repeat(50_000) + 'x', '"'.repeat(50_001), '"a",'.repeat(20_000) + 'x']) {
    expect(() => of({ 'If-None-Match': value })).toThrow('malformed')
  }
})

test('a weak tag that cannot match is explained', () => {
  expect(() => of({ 'If-Match': 'W/"3"' }).expectation(3)).toThrow('a weak tag never matches here')
})
