import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import ts from 'typescript'

/** The program that the README shows first, as JavaScript. */
export function programOfReadme(): string {
  const text = readFileSync(resolve(import.meta.dirname, '../../README.md'), 'utf8')
  const code = /<!-- program -->\s*```ts\n([\s\S]*?)\n```/.exec(text)?.[1] ?? ''
  return ts.transpile(code, { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 })
}
