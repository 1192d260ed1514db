import { existsSync, readFileSync, statSync } from 'node:fs'
import { join, posix } from 'node:path'
import { expect, test } from 'vitest'
import { markdownFiles, readMarkdown, root, type Markdown } from './markdown.ts'

const files = markdownFiles()

test.each(files.map((file) => [file.path, file] as const))('the links of %s lead somewhere', (_, file) => {
  const broken = linksOf(file).filter(({ target }) => !leadsSomewhere(file, target))
  expect(broken.map(({ line, target }) => `${file.path}:${line}: ${target}`)).toEqual([])
})

test('the links of documents in the package lead to what is in the package', () => {
  const { files: listed } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    files: string[]
  }
  const isShipped = (path: string) =>
    [...listed, 'README.md', 'LICENSE', 'package.json'].some(
      (one) => path === one || path.startsWith(`${one}/`),
    )
  const broken = files
    .filter(({ path }) => isShipped(path))
    .flatMap((file) => linksOf(file).map(({ line, target }) => ({ file, line, path: pathOf(file, target) })))
    .filter(({ path }) => !isShipped(path))
  expect(broken.map(({ file, line, path }) => `${file.path}:${line}: ${path}`)).toEqual([])
})

function linksOf(file: Markdown): { line: number; target: string }[] {
  return prose(file).flatMap(([line, number]) => {
    const targets = [...line.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!)
    return targets.filter((target) => !/^[a-z]+:/.test(target)).map((target) => ({ line: number, target }))
  })
}

/** The path from the root to which a link leads, without its anchor. */
function pathOf({ path }: Markdown, link: string): string {
  const [target = ''] = link.split('#')
  return target === '' ? path : posix.join(posix.dirname(path), target)
}

function leadsSomewhere(file: Markdown, link: string): boolean {
  const [, anchor] = link.split('#')
  const other = pathOf(file, link)
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
