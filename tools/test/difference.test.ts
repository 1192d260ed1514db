import { expect, test } from 'vitest'

import { differences, showDifferences } from '../src/cli/difference.ts'

test('two values differ where one of them has something else, or nothing', () => {
  expect(differences({ a: 1, b: { c: [1, 2] } }, { a: 1, b: { c: [1, 2] } })).toEqual([])
  expect(differences({ a: 1, b: { c: [1, 2], d: 0 } }, { b: { c: [1, 3, 4] }, e: null })).toEqual([
    { path: '.a', before: 1 },
    { path: '.b.c[1]', before: 2, after: 3 },
    { path: '.b.c[2]', after: 4 },
    { path: '.b.d', before: 0 },
    { path: '.e', after: null },
  ])
  expect(differences({ a: [] }, { a: {} })).toEqual([{ path: '.a', before: [], after: {} }])
  expect(differences('new', 'old')).toEqual([{ path: '.', before: 'new', after: 'old' }])
})

test('they are shown as lines, without characters that a terminal would obey', () => {
  expect(showDifferences(differences({ name: '\u202ex' }, { name: 'y' }))).toBe(
    '- .name: "\\u202ex"\n+ .name: "y"',
  )
  expect(showDifferences([])).toBe('no difference')
})
