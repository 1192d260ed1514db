import { expect, test } from 'vitest'
import { readMarkdown } from './markdown.ts'
import { matches, run } from './run.ts'
import { programsOf } from './snippets.ts'

const programs = [
  'README.md',
  'docs/guide.md',
  'docs/observability.md',
  'docs/tenants.md',
  'docs/years-later.md',
  'docs/copying.md',
  'docs/durable-execution.md',
  'docs/coming-from.md',
].flatMap((path) => programsOf(readMarkdown(path)))

test.each(programs.map((program) => [program.path, program] as const))(
  '%s prints what it says',
  async (path, program) => {
    const printed = await run(program)
    for (const [i, { line, output = '' }] of program.snippets.entries()) {
      const where = `${path}, the snippet on line ${line}`
      if (!matches(printed[i]!, output)) expect(printed[i], where).toBe(output)
    }
  },
)
