import { existsSync, statSync } from 'node:fs'
import { join, posix } from 'node:path'
import { expect, test } from 'vitest'
import { markdownFiles, readMarkdown, root, type Markdown } from './markdown.ts'

const files = markdownFiles()

test.each(files.map((file) => [file.path, file] as const))('the links of %s lead somewhere', (_, file) => {
  const broken = linksOf(file).filter(({ target }) => !leadsSomewhere(file, target))
  expect(broken.map(({ line, target }) => `${file.path}:${line}: ${target}`)).toEqual([])
})

function linksOf(file: Markdown): { line: number; target: string }[] {
  return prose(file).flatMap(([line, number]) => {
    const targets = [...line.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!)
    return targets.filter((target) => !/^[a-z]+:/.test(target)).map((target) => ({ line: number, target }))
  })
}

function leadsSomewhere({ path }: Markdown, link: string): boolean {
  const [target = '', anchor] = link.split('#')
  const other = target === '' ? path : posix.join(posix.dirname(path), target)
  if (other.startsWith('..') || !existsSync(join(root, other))) return false
  if (anchor === undefined) return true
  return statSync(join(root, other)).isFile() && anchorsOf(readMarkdown(other)).has(anchor)
}

/** The anchors that GitHub gives to headings. */
function anchorsOf(file: Markdown): Set<string> {
  const anchors = new Set<string>()
  for (const [line] of prose(file)) {
    const heading = /^#+ (.+)$/.exec(line)?.[1]
    if (heading === undefined) continue
    const text = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    const slug = text.replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-')
    let anchor = slug
    for (let n = 1; anchors.has(anchor); n++) anchor = `${slug}-${n}`
    anchors.add(anchor)
  }
  return anchors
}

/** Lines outside fenced blocks, with their numbers. */
function prose({ lines, fences }: Markdown): [line: string, number: number][] {
  return lines
    .map((line, i): [string, number] => [line, i + 1])
    .filter((_, i) => !fences.some(({ from, to }) => i >= from && i <= to))
}
