import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'

export const root = resolve(import.meta.dirname, '../..')

/** A markdown file of the repository. */
export interface Markdown {
  /** Its path from the root, with `/`. */
  readonly path: string
  readonly lines: readonly string[]
  readonly fences: readonly Fence[]
}

/** A fenced block at the beginning of a line. Lines are counted from 0, those of the fences included. */
interface Fence {
  /** What stands behind the opening fence, like `ts` or `ts new`. */
  readonly info: string
  readonly from: number
  readonly to: number
}

/** Every markdown file of the repository. */
export function markdownFiles(): Markdown[] {
  return filesIn(root)
    .filter((file) => file.endsWith('.md'))
    .map((file) => relative(root, file).replaceAll('\\', '/'))
    .sort()
    .map(readMarkdown)
}

/** A markdown file, by its path from the root. */
export function readMarkdown(path: string): Markdown {
  const lines = readFileSync(join(root, path), 'utf8').split('\n')
  return { path, lines, fences: fencesOf(lines) }
}

function fencesOf(lines: readonly string[]): Fence[] {
  const fences: Fence[] = []
  let open: { info: string; from: number } | undefined
  for (const [i, line] of lines.entries()) {
    const info = /^```(.*)$/.exec(line)?.[1]
    if (info === undefined) continue
    if (open) fences.push({ ...open, to: i })
    open = open ? undefined : { info: info.trim(), from: i }
  }
  return fences
}

const IGNORED = ['node_modules', 'dist', 'build', 'coverage']

function filesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name.startsWith('.') || IGNORED.includes(entry.name)) return []
    const path = join(folder, entry.name)
    return entry.isDirectory() ? filesIn(path) : [path]
  })
}
