import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { execFileSync, spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

// better-sqlite3 13 crashes a Node with a Node-API older than 10, at its first database. A stand-in bears the version and
// says that it was used; the runtime's own versions are stand-ins, too, so that each case runs on every Node.

const root = resolve(import.meta.dirname, '../..')
let project: string

beforeAll(() => {
  execFileSync(process.execPath, ['scripts/setup.mjs', 'js'], { cwd: root })
  project = mkdtempSync(join(tmpdir(), 'mneme-driver-'))
  const installed = join(project, 'node_modules/mneme')
  cpSync(join(root, 'dist'), join(installed, 'dist'), { recursive: true })
  cpSync(join(root, 'package.json'), join(installed, 'package.json'))
})

afterAll(() => {
  rmSync(project, { recursive: true, force: true })
})

interface Runtime {
  readonly napi: string
  /** The SQLite of `node:sqlite`, if there is one. */
  readonly sqlite?: string
  /** The version of better-sqlite3 that is installed. */
  readonly installed?: string
}

test('better-sqlite3 13 is not loaded below Node-API 10, and the error names the version to install', () => {
  const output = opening({ napi: '9', installed: '13.2.0' })
  expect(output).not.toContain('better-sqlite3 is used')
  expect(output).toMatch(/^CANNOT_OPEN driver-missing .*better-sqlite3 13\.2\.0 .*npm install better-sqlite3@12/)
})

test('node:sqlite is used below Node-API 10 if better-sqlite3 13 is installed beside an old SQLite', () => {
  expect(opening({ napi: '9', sqlite: '3.47.2', installed: '13.2.0' })).toContain('node:sqlite is used')
})

test('better-sqlite3 12 is used below Node-API 10', () => {
  expect(opening({ napi: '9', installed: '12.11.1' })).toContain('better-sqlite3 is used')
})

test('better-sqlite3 13 is used from Node-API 10 on', () => {
  expect(opening({ napi: '10', installed: '13.2.0' })).toContain('better-sqlite3 is used')
})

test('a sound node:sqlite is preferred to an installed better-sqlite3', () => {
  expect(opening({ napi: '10', sqlite: '3.54.0', installed: '13.2.0' })).toContain('node:sqlite is used')
})

test('without any driver the error names the version that this Node can load', () => {
  expect(opening({ napi: '9' })).toContain('npm install better-sqlite3@12)')
  expect(opening({ napi: '10' })).toContain('npm install better-sqlite3)')
})

/** What a program prints that opens a store on such a runtime. */
function opening({ napi, sqlite, installed }: Runtime): string {
  const folder = join(project, 'node_modules/better-sqlite3')
  rmSync(folder, { recursive: true, force: true })
  if (installed !== undefined) {
    mkdirSync(folder)
    const manifest = { name: 'better-sqlite3', version: installed, main: 'index.js' }
    writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
    const code = "module.exports = class { constructor() { console.log('better-sqlite3 is used'); process.exit() } }"
    writeFileSync(join(folder, 'index.js'), code)
  }
  const program = `
    const versions = ${JSON.stringify({ napi, sqlite })}
    Object.defineProperty(process, 'versions', { value: { ...process.versions, ...versions } })
    class StatementSync { iterate() {} }
    class DatabaseSync { constructor() { console.log('node:sqlite is used'); process.exit() } }
    const { getBuiltinModule } = process
    process.getBuiltinModule = (name) => {
      if (name !== 'node:sqlite') return getBuiltinModule(name)
      return versions.sqlite && { StatementSync, DatabaseSync }
    }
    const { sqliteStore } = await import('mneme/sqlite')
    await sqliteStore(':memory:').catch((error) => console.log(error.code, error.reason, error.message))`
  writeFileSync(join(project, 'program.mjs'), program)
  const { stdout, stderr } = spawnSync(process.execPath, ['program.mjs'], { cwd: project, encoding: 'utf8' })
  return stdout + stderr
}
