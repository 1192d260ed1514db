import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { messagesOf, programOf, type Message } from '../support/compiler.ts'

const folder = 'test/types/mistakes'
const files = readdirSync(join(import.meta.dirname, 'mistakes')).filter((name) => name.endsWith('.ts'))
const program = programOf(files.map((name) => `${folder}/${name}`))

// What the compiler prints for typical mistakes is part of the API: each `// title` of a file, with its messages.
// A message that changes is to be read before it is accepted (`vitest -u`): is it as clear as before?
describe.each(files)('%s', (name) => {
  const path = `${folder}/${name}`
  const titles = titlesOf(readFileSync(join(import.meta.dirname, 'mistakes', name), 'utf8'))
  const messages = messagesOf(program, path)

  test('the compiler says of each mistake what is recorded', async () => {
    if (name === 'domain.ts') return expect(messages).toEqual([])
    const sections = titles.map(({ title, from, to }) => {
      return [title, ...inside(messages, from, to).map(({ text }) => text.replaceAll(/^/gm, '    '))].join(
        '\n',
      )
    })
    const expectation = join(import.meta.dirname, 'mistakes', name.replace(/\.ts$/, '.txt'))
    await expect(`${sections.join('\n\n')}\n`).toMatchFileSnapshot(expectation)
  })

  test('every mistake is an error, except those that are titled so', () => {
    for (const { title, from, to } of titles) {
      expect(inside(messages, from, to).length > 0, title).toBe(!title.startsWith('no error: '))
    }
    expect(inside(messages, 0, titles[0]?.from ?? Infinity)).toEqual([])
  })
})

interface Title {
  readonly title: string
  readonly from: number
  readonly to: number
}

function titlesOf(text: string): Title[] {
  const lines = text.split('\n')
  const starts = lines.flatMap((line, i) => (line.startsWith('// ') && lines[i - 1] === '' ? [i + 1] : []))
  return starts.map((from, i) => ({
    title: lines[from - 1]!.slice(3),
    from,
    to: starts[i + 1] ?? Infinity,
  }))
}

function inside(messages: readonly Message[], from: number, to: number): Message[] {
  return messages.filter(({ line }) => line >= from && line < to)
}
