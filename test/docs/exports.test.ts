import { join } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'
import { programOf } from '../support/compiler.ts'
import { entryPoints } from './examples.ts'
import { root } from './markdown.ts'

const program = programOf(Object.values(entryPoints))
const checker = program.getTypeChecker()

test.each(Object.entries(entryPoints))('every export of %s says in a sentence what it is', (_, path) => {
  const silent = exportsOf(path)
    .filter((symbol) => !/^[^\n]+?\.(\s|$)/.test(firstParagraph(symbol)))
    .map(({ name }) => name)
  expect(silent).toEqual([])
})

function exportsOf(path: string): ts.Symbol[] {
  const file = program.getSourceFile(join(root, path))
  const module = file && checker.getSymbolAtLocation(file)
  if (!module) throw new Error(`${path} is not a module`)
  return checker.getExportsOfModule(module)
}

function firstParagraph(symbol: ts.Symbol): string {
  const declared = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
  const text = ts.displayPartsToString(declared.getDocumentationComment(checker))
  return (text.split('\n\n')[0] ?? '').replaceAll('\n', ' ')
}
