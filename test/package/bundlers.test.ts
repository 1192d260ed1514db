import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { onDemand } from '../support/on-demand.ts'
import { programOfReadme } from '../support/readme.ts'

// A program is bundled where no optional driver is installed, and moved away from its node_modules before it runs.

const root = resolve(import.meta.dirname, '../..')
const tools = onDemand('esbuild@0.28.2', 'webpack@5.113.0')
const node26 = findNode26()

/** For each bundler, the program that bundles `program.mjs` of its folder into the folder `out`. */
const bundlers: Readonly<Record<string, string>> = {
  esbuild: `
    import { build } from ${place(tools.folder, 'esbuild/lib/main.js')}
    await build({ entryPoints: ['program.mjs'], bundle: true, platform: 'node', format: 'esm', outfile: 'out/program.mjs' })`,
  'esbuild, to CommonJS': `
    import { build } from ${place(tools.folder, 'esbuild/lib/main.js')}
    await build({ entryPoints: ['main.mjs'], bundle: true, platform: 'node', format: 'cjs', outfile: 'out/program.cjs' })`,
  rolldown: `
    import { rolldown } from ${place(root, 'node_modules/rolldown/dist/index.mjs')}
    const bundle = await rolldown({ input: 'program.mjs', platform: 'node' })
    await bundle.write({ dir: 'out', entryFileNames: '[name].mjs', chunkFileNames: '[name].mjs' })`,
  webpack: `
    import webpack from ${place(tools.folder, 'webpack/lib/index.js')}
    const output = { path: process.cwd() + '/out', filename: 'program.mjs', module: true, chunkFormat: 'module' }
    const options = { mode: 'none', target: 'node', entry: './program.mjs', output, experiments: { outputModule: true } }
    webpack(options, (error, stats) => {
      if (error ?? stats.hasErrors()) throw error ?? new Error(stats.toString({ all: false, errors: true }))
    })`,
  'Vite (server)': `
    import { build } from ${place(root, 'node_modules/vite/dist/node/index.js')}
    await build({
      configFile: false, logLevel: 'silent', ssr: { noExternal: true },
      build: { ssr: 'program.mjs', outDir: 'out', rollupOptions: { output: { entryFileNames: '[name].mjs' } } },
    })`,
}

const readme = programOfReadme()
const everyStore = `
import { openStore } from 'mneme'
import { kurrentdbStore } from 'mneme/kurrentdb'
import { postgresStore } from 'mneme/postgres'
const store = await openStore('memory:')
await store.append({ stream: 's-1', events: [{ type: 'Happened', data: {} }] })
for await (const { type } of store.read('s-1')) console.log(type)
const openings = [postgresStore('postgres://localhost/none'), kurrentdbStore('kurrentdb://localhost:2113')]
const problems = openings.map((opening) => opening.catch(({ code, reason }) => code + ' ' + reason))
for (const problem of await Promise.all(problems)) console.log(problem)
`

let project: string

beforeAll(() => {
  execFileSync(process.execPath, ['scripts/setup.mjs', 'js'], { cwd: root })
  project = mkdtempSync(join(tmpdir(), 'mneme-bundled-'))
  const installed = join(project, 'node_modules/mneme')
  cpSync(join(root, 'dist'), join(installed, 'dist'), { recursive: true })
  cpSync(join(root, 'package.json'), join(installed, 'package.json'))
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }')
})

afterAll(() => {
  rmSync(project, { recursive: true, force: true })
})

describe.each(Object.entries(bundlers))('bundled with %s', (name, bundler) => {
  test.skipIf(tools.problem !== undefined && bundler.includes(tools.folder))(
    'a program with every store runs, and says which driver is missing',
    () => {
      const output = run(bundle(name, bundler, everyStore))
      expect(output).toBe('Happened\n' + 'CANNOT_OPEN driver-missing\n'.repeat(2))
    },
  )

  test.skipIf(tools.problem !== undefined && bundler.includes(tools.folder))(
    "the README's program runs if Node has SQLite, else says which driver to install",
    () => {
      const output = run(bundle(name, bundler, readme))
      expect(output).toContain(
        isBuiltin('node:sqlite') ? 'alice has 10 and bob 20' : 'npm install better-sqlite3',
      )
    },
  )
})

test.skipIf(tools.problem !== undefined || node26 === undefined)(
  'a single executable of Node 26 carries the program and its SQLite store',
  () => {
    const code = bundle('esbuild, to CommonJS', bundlers['esbuild, to CommonJS']!, readme)
    const folder = resolve(code, '..')
    const executable = join(folder, process.platform === 'win32' ? 'bank.exe' : 'bank')
    const sea = { main: code, output: executable, disableExperimentalSEAWarning: true }
    writeFileSync(join(folder, 'sea.json'), JSON.stringify(sea))
    execFileSync(node26!, ['--build-sea', join(folder, 'sea.json')], { stdio: 'pipe' })
    expect(run(executable)).toContain('alice has 10 and bob 20')
  },
)

/** Bundles a program. Returns the file that runs it, in a folder that has no node_modules above it. */
function bundle(name: string, bundler: string, code: string): string {
  const toCommonJs = name.includes('CommonJS')
  writeFileSync(join(project, 'program.mjs'), code)
  // CommonJS has no top-level await.
  const lines = code.split('\n')
  const imports = lines.filter((line) => line.startsWith('import '))
  const rest = lines.filter((line) => !line.startsWith('import '))
  writeFileSync(join(project, 'main.mjs'), [...imports, 'void (async () => {', ...rest, '})()'].join('\n'))
  writeFileSync(join(project, 'bundle.mjs'), bundler)
  const out = join(project, 'out')
  rmSync(out, { recursive: true, force: true })
  execFileSync(process.execPath, ['bundle.mjs'], { cwd: project, stdio: 'pipe' })
  const folder = mkdtempSync(join(tmpdir(), 'mneme-bundle-'))
  mkdirSync(join(folder, 'out'))
  cpSync(out, join(folder, 'out'), { recursive: true })
  return join(folder, 'out', toCommonJs ? 'program.cjs' : 'program.mjs')
}

function run(file: string): string {
  const cwd = resolve(file, '..')
  const [command, args] = /\.[cm]js$/.test(file) ? [process.execPath, [file]] : [file, []]
  const { stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  rmSync(resolve(cwd, '..'), { recursive: true, force: true })
  const isWarning = (line: string) => /ExperimentalWarning|--trace-warnings/.test(line)
  return (
    stdout +
    stderr
      .split('\n')
      .filter((line) => !isWarning(line))
      .join('\n')
  )
}

/** This Node, or the one that the long tests keep; undefined if neither is 26 or newer. */
function findNode26(): string | undefined {
  if (Number.parseInt(process.versions.node) >= 26) return process.execPath
  const { platform, arch } = process
  const kept = join(root, `.cache/node-26/node_modules/node-${platform}-${arch}/bin/node`)
  return existsSync(kept) ? kept : undefined
}

function place(folder: string, file: string): string {
  return JSON.stringify(pathToFileURL(join(folder, file)).href)
}
