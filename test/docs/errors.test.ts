import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'
import { readMarkdown, root } from './markdown.ts'

const { lines } = readMarkdown('docs/errors.md')
const inCode = errorClasses()

test('the table names every error with its class and whether a retry can help, and no other', () => {
  const rows = lines.flatMap((line) => {
    const row = /^\| \[`(\w+)`\]\(#(\w+)\)\s*\| `(\w+)`\s*\| (yes|no)\s*\|/.exec(line)
    return row ? [{ code: row[1]!, anchor: row[2]!, name: row[3]!, isRetryable: row[4] === 'yes' }] : []
  })
  expect(rows).toEqual(inCode.map((error) => ({ ...error, anchor: error.code.toLowerCase() })))
})

test('there is a section for every code, and for no other, in the order of the table', () => {
  const sections = lines.flatMap((line) => /^## `(\w+)`$/.exec(line)?.[1] ?? [])
  expect(sections).toEqual(inCode.map(({ code }) => code))
})

/** What src/base/errors.ts declares, by code. */
function errorClasses(): { code: string; name: string; isRetryable: boolean }[] {
  const path = join(root, 'src/base/errors.ts')
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
  const classes = source.statements.filter(ts.isClassDeclaration).flatMap(({ name, members }) => {
    const code = initial(members, 'code')
    if (!name || !code || !ts.isStringLiteral(code)) return []
    const isRetryable = initial(members, 'isRetryable')?.kind === ts.SyntaxKind.TrueKeyword
    return [{ code: code.text, name: name.text, isRetryable }]
  })
  return classes.sort((a, b) => (a.code < b.code ? -1 : 1))
}

function initial(members: ts.NodeArray<ts.ClassElement>, name: string): ts.Expression | undefined {
  const member = members.find((one) => one.name?.getText() === name)
  return member && ts.isPropertyDeclaration(member) ? member.initializer : undefined
}
