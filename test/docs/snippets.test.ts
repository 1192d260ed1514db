import { expect, test } from 'vitest'
import { problemsOf, programOf } from './compile.ts'
import { examples } from './examples.ts'
import { markdownFiles } from './markdown.ts'
import { matches, run } from './run.ts'
import { programsOf } from './snippets.ts'

/** Documents whose programs are run as well. */
const RUN = ['README.md', 'docs/guide.md']

const programs = markdownFiles().flatMap((file) =>
  programsOf(file).map((program) => ({ ...program, isRun: RUN.includes(file.path) })),
)
const exampleFiles = examples()
const compiled = programOf([...programs, ...exampleFiles])

test.each(programs.map(({ path }) => path))('%s compiles', (path) => {
  expect(problemsOf(compiled, path)).toEqual([])
})

test.each(exampleFiles.map(({ path }) => path))('%s compiles', (path) => {
  expect(problemsOf(compiled, path)).toEqual([])
})

const runPrograms = programs.filter(({ isRun }) => isRun).map((program) => [program.path, program] as const)
test.each(runPrograms)('%s prints what it says', async (path, program) => {
  const printed = await run(program)
  for (const [i, { line, output = '' }] of program.snippets.entries()) {
    const where = `${path}, the snippet on line ${line}`
    if (!matches(printed[i]!, output)) expect(printed[i], where).toBe(output)
  }
})
