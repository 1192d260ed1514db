import { test } from 'vitest'
import { killCopies } from '../history/killed-copies.ts'
import { rounds } from '../support/soak.ts'

test('a copy that is killed a hundred times, while its source goes on, ends as one that was never killed', () =>
  killCopies(rounds({ full: 100, brief: 10 })))
