import type { Markdown } from './markdown.ts'

/**
 * The snippets of a markdown file that make one program: those fenced as `ts`, each going on from the one
 * before it. A fence `ts new` begins another program.
 */
export interface SnippetProgram {
  /** A name for it, like `docs/guide.md.1.ts`. */
  readonly path: string
  /** The snippets, each on the lines on which it stands in its markdown file. */
  readonly text: string
  /** The same; after each snippet it calls `endOfSnippet(n)`. */
  readonly runnable: string
  readonly snippets: readonly Snippet[]
}

/** One snippet. */
interface Snippet {
  /** The line on which it begins in its file, from 1. */
  readonly line: number
  /** What the document says that it prints: the block without a language that follows it, if any. */
  readonly output: string | undefined
}

/** The programs that a markdown file's snippets make. */
export function programsOf({ path, lines, fences }: Markdown): SnippetProgram[] {
  const programs: { text: string[]; runnable: string[]; snippets: Snippet[] }[] = []
  for (const [i, { info, from, to }] of fences.entries()) {
    const [language, ...rest] = info.split(/\s+/)
    if (language !== 'ts') continue
    if (rest.some((word) => word !== 'new'))
      throw new Error(`${path}:${from + 1}: what is 'ts ${rest.join(' ')}'?`)
    if (programs.length === 0 || rest.includes('new')) programs.push({ text: [], runnable: [], snippets: [] })
    const { text, runnable, snippets } = programs.at(-1)!
    const next = fences[i + 1]
    snippets.push({
      line: from + 2,
      output: next?.info === '' ? lines.slice(next.from + 1, next.to).join('\n') : undefined,
    })
    for (const target of [text, runnable]) {
      while (target.length <= from) target.push('')
      target.push(...lines.slice(from + 1, to))
    }
    runnable.push(`;endOfSnippet(${snippets.length - 1})`)
  }
  return programs.map(({ text, runnable, snippets }, i) => ({
    path: `${path}.${i + 1}.ts`,
    text: text.join('\n'),
    runnable: runnable.join('\n'),
    snippets,
  }))
}
