import { expect, test } from 'vitest'
import { messagesOf, programOf } from '../support/compiler.ts'
import { examples } from './examples.ts'
import { markdownFiles } from './markdown.ts'
import { programsOf } from './snippets.ts'

const files = [...markdownFiles().flatMap(programsOf), ...examples()]
const compiled = programOf([], { texts: Object.fromEntries(files.map(({ path, text }) => [path, text])) })

test.each(files.map(({ path }) => path))('%s compiles', (path) => {
  expect(messagesOf(compiled, path)).toEqual([])
})
