import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { format } from 'node:util'
import { root } from './markdown.ts'
import type { SnippetProgram } from './snippets.ts'

/** Runs a program in an empty folder. @returns what each of its snippets printed. */
export async function run({ path, runnable, snippets }: SnippetProgram): Promise<string[]> {
  const printed = snippets.map((): string[] => [])
  let current = 0
  const { log } = console
  const folder = process.cwd()
  const temporary = mkdtempSync(join(tmpdir(), 'mneme-docs-'))
  const globals = globalThis as { endOfSnippet?: (n: number) => void }
  globals.endOfSnippet = (n) => (current = n + 1)
  console.log = (...args) => printed[current]?.push(format(...args))
  process.chdir(temporary)
  try {
    await load(path, runnable)
  } finally {
    console.log = log
    process.chdir(folder)
    delete globals.endOfSnippet
    rmSync(temporary, { recursive: true, force: true })
  }
  return printed.map((lines) => lines.join('\n'))
}

/** Imports a text as a module of the repository, so that `mneme` is this package. */
export async function load(path: string, text: string): Promise<void> {
  const folder = join(root, '.cache', `docs-${process.pid}`)
  mkdirSync(folder, { recursive: true })
  const file = join(folder, path.replaceAll('/', '-'))
  writeFileSync(file, text)
  try {
    await import(pathToFileURL(file).href)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Whether a program printed what its document says; there, `…` stands for anything. */
export function matches(printed: string, shown: string): boolean {
  const pattern = shown
    .split('…')
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('.*')
  return new RegExp(`^${pattern}$`).test(printed)
}
