import { test } from 'vitest'
import { killCopies } from './killed-copies.ts'

test('a copy that is killed again and again, while its source goes on, ends as one that was never killed', () =>
  killCopies(Array(6).keys()))
