import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  mkdirSync,
  writeFileSync,
} from 'node:fs'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

const root = resolve(import.meta.dirname, '../..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, unknown>
}
const subpaths = Object.keys(manifest.exports).filter((path) => path !== './package.json')
const programs = readPrograms()

let project: string

beforeAll(() => {
  execFileSync(process.execPath, ['scripts/setup.mjs', 'js', 'types'], { cwd: root })
  project = mkdtempSync(join(tmpdir(), 'mneme-packed-'))
  npm(root, 'pack', '--ignore-scripts', '--pack-destination', project)
  const tarball = readdirSync(project).find((name) => name.endsWith('.tgz'))
  writeFileSync(join(project, 'package.json'), '{ "name": "empty", "private": true, "type": "module" }')
  npm(project, 'install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', `./${tarball ?? ''}`)
}, 60_000)

afterAll(() => {
  rmSync(project, { recursive: true, force: true })
})

test('installs nothing but itself', () => {
  const packages = readdirSync(join(project, 'node_modules')).filter((name) => !name.startsWith('.'))
  expect(packages).toEqual(['mneme'])
})

test.each(subpaths)('%s imports under plain Node and exports something', (subpath) => {
  const specifier = join('mneme', subpath).replaceAll('\\', '/')
  const code = `console.log(Object.keys(await import('${specifier}')).length)`
  if (subpath === './opentelemetry') {
    // Its users have this beside it.
    mkdirSync(join(project, 'node_modules/@opentelemetry'), { recursive: true })
    const api = 'node_modules/@opentelemetry/api'
    symlinkSync(join(root, api), join(project, api), 'junction')
  }
  const names = execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: project })
  expect(Number(names)).toBeGreaterThan(0)
})

test('the README has programs', () => {
  expect(programs).toHaveLength(2)
})

// Each block of TypeScript after a line `<!-- program -->`.
test.each(programs.map((text, i) => [i + 1, text] as const))(
  'program %i of the README compiles and runs',
  (_, text) => {
    writeFileSync(join(project, 'program.ts'), text)
    writeFileSync(
      join(project, 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: {
          target: 'es2022',
          lib: ['es2023', 'esnext.disposable'],
          module: 'nodenext',
          strict: true,
          skipLibCheck: false,
          types: ['node'],
          typeRoots: [join(root, 'node_modules/@types')],
        },
        files: ['program.ts'],
      }),
    )
    const tsc = join(root, 'node_modules/typescript/lib/tsc.js')
    node(project, tsc, '-p', '.')
    if (!isBuiltin('node:sqlite')) {
      // What a user of such a Node installs beside it.
      const driver = 'node_modules/better-sqlite3'
      if (!existsSync(join(project, driver)))
        symlinkSync(join(root, driver), join(project, driver), 'junction')
    }
    const output = node(project, 'program.js')
    expect(output).not.toBe('')
  },
)

function readPrograms(): string[] {
  const readme = join(root, 'README.md')
  if (!existsSync(readme)) return []
  const blocks = readFileSync(readme, 'utf8').matchAll(/<!-- program -->\s*```ts(?: new)?\n([\s\S]*?)\n```/g)
  return [...blocks].map(([, text]) => text!)
}

function npm(cwd: string, ...args: string[]): void {
  const cli = process.env.npm_execpath
  if (cli?.endsWith('npm-cli.js')) node(cwd, cli, ...args)
  else execFileSync('npm', args, { cwd, stdio: 'pipe', shell: process.platform === 'win32' })
}

function node(cwd: string, ...args: string[]): string {
  return execFileSync(process.execPath, args, { cwd, encoding: 'utf8', stdio: 'pipe' })
}
