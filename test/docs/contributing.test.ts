import { expect, test } from 'vitest'
import { readMarkdown } from './markdown.ts'
import { load } from './run.ts'
import { programsOf } from './snippets.ts'

const [program] = programsOf(readMarkdown('CONTRIBUTING.md'))

// Declares the cases of the contract suite, for the store that the document shows.
if (program) await load(program.path, program.text)

test('CONTRIBUTING.md shows how a store is proved', () => {
  expect(program?.text).toContain('storeContract(')
})
