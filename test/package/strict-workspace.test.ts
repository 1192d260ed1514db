import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

// Under Yarn Plug'n'Play a package finds only what it names as a dependency of its own. The drivers are in the
// application's package, as users have them, and are stand-ins here: nothing is downloaded.

const root = resolve(import.meta.dirname, '../..')
const yarn = join(root, 'node_modules/@yarnpkg/cli-dist/bin/yarn.js')
const drivers = {
  pg: 'export class Pool { constructor() { console.log("pg was loaded"); throw new Error() } }',
  'better-sqlite3': 'export default class Database { constructor() { throw new Error() } }',
  '@kurrent/kurrentdb-client':
    'export const KurrentDBClient = { connectionString() { console.log("the client was loaded"); throw new Error() } }',
}

let workspace: string

beforeAll(() => {
  execFileSync(process.execPath, ['scripts/setup.mjs', 'js'], { cwd: root })
  workspace = mkdtempSync(join(tmpdir(), 'mneme-workspace-'))
  const npm = ['pack', '--ignore-scripts', '--pack-destination', workspace]
  execFileSync('npm', npm, { cwd: root, stdio: 'pipe', shell: process.platform === 'win32' })
  const tarball = readdirSync(workspace).find((name) => name.endsWith('.tgz')) ?? ''

  write('package.json', { name: 'workspace', private: true, workspaces: ['app'] })
  write('yarn.lock', '')
  write('.yarnrc.yml', {
    nodeLinker: 'pnp',
    enableNetwork: false,
    enableTelemetry: false,
    enableGlobalCache: false,
    // On by default where the variable CI is set.
    enableImmutableInstalls: false,
    enableScripts: false,
  })
  for (const [name, code] of Object.entries(drivers)) {
    const versions: Record<string, string> = { pg: '8.23.1', 'better-sqlite3': '12.11.1' }
    write(`drivers/${name}/package.json`, {
      ...{ name, version: versions[name] ?? '1.3.1', type: 'module', exports: './index.js' },
    })
    write(`drivers/${name}/index.js`, code)
  }
  write('app/package.json', {
    ...{ name: 'app', private: true, type: 'module' },
    dependencies: {
      mneme: `file:../${tarball}`,
      ...Object.fromEntries(Object.keys(drivers).map((name) => [name, `file:../drivers/${name}`])),
    },
  })
  runYarn('install', '--mode=skip-build')
}, 600_000)

afterAll(() => {
  rmSync(workspace, { recursive: true, force: true })
})

describe("in a Plug'n'Play workspace", () => {
  test.each([
    ['mneme/postgres', 'postgresStore("postgres://localhost/none")', 'pg was loaded'],
    ['mneme/kurrentdb', 'kurrentdbStore("kurrentdb://localhost:2113")', 'the client was loaded'],
  ])('%s uses the driver of the application', (subpath, call, expected) => {
    write(
      'app/program.js',
      `import * as store from '${subpath}'
       await store.${call}.catch((error) => console.log(error.message))`,
    )
    const output = runYarn('node', 'program.js')
    expect(output).not.toContain('npm install')
    expect(output).toContain(expected)
  })

  test('the package names better-sqlite3, so that the store may load it', () => {
    write(
      'app/program.js',
      `import { createRequire } from 'node:module'
       console.log(createRequire(import.meta.resolve('mneme/sqlite')).resolve('better-sqlite3'))`,
    )
    expect(runYarn('node', 'program.js')).toContain('better-sqlite3')
  })
})

function runYarn(...args: string[]): string {
  const cwd = args[0] === 'node' ? join(workspace, 'app') : workspace
  const env = { ...process.env, YARN_IGNORE_PATH: '1' }
  return execFileSync(process.execPath, [yarn, ...args], { cwd, env, encoding: 'utf8', stdio: 'pipe' })
}

function write(path: string, content: unknown): void {
  const file = join(workspace, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content, null, 2))
}
