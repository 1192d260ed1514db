import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { markdownFiles } from '../docs/markdown.ts'
import { programsOf } from '../docs/snippets.ts'
import { onDemand } from '../support/on-demand.ts'

// TypeScript 7 is a native compiler without an API, so it is run as a program. 5.9 is the oldest TypeScript that the
// declarations of the package are checked with.

const root = resolve(import.meta.dirname, '../..')
const [oldest, native] = [onDemand('typescript@5.9.3'), onDemand('typescript@7.0.2')]
const compilers = {
  '5.9': { problem: oldest.problem, tsc: join(oldest.folder, 'typescript/lib/tsc.js') },
  '6.0': { problem: undefined, tsc: join(root, 'node_modules/typescript/lib/tsc.js') },
  '7.0': { problem: native.problem, tsc: join(native.folder, 'typescript/bin/tsc') },
}

describe('TypeScript 7', () => {
  test.skipIf(native.problem !== undefined)(
    'finds no error in the sources, tests, examples and type tests',
    () => {
      expect(run(root, '7.0', '-p', '.')).toBe('')
    },
  )

  test.skipIf(native.problem !== undefined)('says of the recorded mistakes what is recorded', async () => {
    const folder = join(import.meta.dirname, 'mistakes')
    const files = readdirSync(folder).filter((name) => name.endsWith('.ts'))
    const project = join(folder, 'tsconfig.7.json')
    writeFileSync(
      project,
      JSON.stringify({ extends: '../../../tsconfig.json', files, include: [], exclude: [] }),
    )
    try {
      const output = run(root, '7.0', '-p', project)
      await expect(output.replaceAll(/^.*test\/types\/mistakes\//gm, '')).toMatchFileSnapshot(
        join(folder, 'typescript-7.txt'),
      )
    } finally {
      rmSync(project)
    }
  })
})

describe('the snippets of the documents', () => {
  const folder = join(root, '.cache/snippets')

  beforeAll(() => {
    rmSync(folder, { recursive: true, force: true })
    for (const { path, text } of markdownFiles().flatMap(programsOf)) {
      const file = join(folder, path)
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, `${text}\nexport {}\n`)
    }
    const project = { extends: '../../tsconfig.json', include: ['.'], exclude: [] }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(project))
  })

  // With 6.0 they are compiled one by one, in test/docs.
  test.each(['5.9', '7.0'] as const)('compile with TypeScript %s', (version) => {
    const { problem } = compilers[version]
    if (problem !== undefined) return console.warn(`skipped: ${problem}`)
    expect(run(root, version, '-p', folder)).toBe('')
  })
})

describe("a user's project that checks the declarations of the package", () => {
  let project: string

  beforeAll(() => {
    execFileSync(process.execPath, ['scripts/setup.mjs', 'js', 'types'], { cwd: root })
    project = mkdtempSync(join(tmpdir(), 'mneme-versions-'))
    const installed = join(project, 'node_modules/mneme')
    cpSync(join(root, 'dist'), join(installed, 'dist'), { recursive: true })
    cpSync(join(root, 'package.json'), join(installed, 'package.json'))
    // The one peer whose types a subpath shows; who imports that subpath has it.
    const api = 'node_modules/@opentelemetry/api'
    cpSync(join(root, api), join(project, api), { recursive: true })
    writeFileSync(join(project, 'package.json'), '{ "type": "module" }')
    const programs = [
      ...readFileSync(join(root, 'README.md'), 'utf8').matchAll(
        /<!-- program -->\s*```ts(?: new)?\n([\s\S]*?)\n```/g,
      ),
    ].map(([, code]) => code!)
    const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { exports: object }
    const subpaths = Object.keys(exports).filter((path) => path !== './package.json')
    const imports = subpaths.map((path, i) => `export * as m${i} from '${join('mneme', path)}'`)
    for (const [i, code] of [...programs, imports.join('\n')].entries()) {
      writeFileSync(join(project, `program-${i}.ts`), code)
    }
    const compilerOptions = {
      ...{ target: 'es2022', lib: ['es2023', 'esnext.disposable'], module: 'nodenext', strict: true },
      ...{
        skipLibCheck: false,
        noEmit: true,
        types: ['node'],
        typeRoots: [join(root, 'node_modules/@types')],
      },
    }
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions }))
  }, 600_000)

  afterAll(() => {
    rmSync(project, { recursive: true, force: true })
  })

  test.each(['5.9', '6.0', '7.0'] as const)('compiles with TypeScript %s', (version) => {
    const { problem } = compilers[version]
    if (problem !== undefined) return console.warn(`skipped: ${problem}`)
    expect(run(project, version, '-p', '.')).toBe('')
  })
})

function run(cwd: string, version: keyof typeof compilers, ...args: string[]): string {
  const flags = [compilers[version].tsc, ...args, '--noEmit', '--pretty', 'false']
  const { stdout, stderr } = spawnSync(process.execPath, flags, { cwd, encoding: 'utf8' })
  return stdout + stderr
}
