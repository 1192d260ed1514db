// npm start: the bank of examples/bank. A Node that runs TypeScript and has SQLite (22.18 and newer) runs it from the
// sources without any set-up. What another Node lacks, and the driver of another store, is installed first; with
// --inspect, so are the tools, which then show what happened.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { isBuiltin } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const isInspecting = process.argv.includes('--inspect')
const args = process.argv.slice(2).filter((arg) => arg !== '--inspect')
const typeScriptFlags = flagsForTypeScript()
const url = args.findLast((arg) => /^(--store=)?\w+(\+discover)?:/.test(arg))?.replace('--store=', '')

if (isInspecting && url === 'memory:') {
  console.error('memory: keeps nothing that could be looked at: leave --store out, or name another store')
  process.exit(1)
}

const packages = [
  ...(typeScriptFlags ? [] : ['rolldown']),
  ...(isBuiltin('node:sqlite') ? [] : ['better-sqlite3']),
  ...driverOf(url),
]
const programs = typeScriptFlags ? [] : ['programs']
if (isInspecting) setUp(['js', 'tools', ...programs])
else if (packages.length > 0) {
  setUp(['--only', packages.join(), ...(typeScriptFlags ? [] : ['js']), ...programs])
}

// Ctrl-C in a terminal reaches the programs as well, which end in their own time.
process.on('SIGINT', () => undefined)

await run([
  ...(typeScriptFlags ? ['--conditions=mneme:source'] : []),
  programIn('examples/bank/main'),
  ...args,
])
if (isInspecting) {
  const store = url ?? 'sqlite:bank.db'
  console.log('\nLook at it in a browser:')
  const model = ['--model', programIn('examples/bank/account')]
  await run([join(root, 'tools/dist/cli.js'), 'inspect', store, ...model, '--open'])
} else if (url !== 'memory:' && !args.some((arg) => ['--help', '-h'].includes(arg))) {
  const same = args.length > 0 ? ', with the same arguments' : ''
  console.log(`\nLook at it in a browser: npm start -- --inspect${same}`)
}

/** Runs a program of ours; this one ends with it if it does not end well. */
async function run(programArgs) {
  const nodeArgs = ['--disable-warning=ExperimentalWarning', ...(typeScriptFlags ?? []), ...programArgs]
  const child = spawn(process.execPath, nodeArgs, { stdio: 'inherit' })
  const end = () => child.kill('SIGTERM')
  process.on('SIGTERM', end)
  const [code, signal] = await once(child, 'exit')
  process.off('SIGTERM', end)
  if (code !== 0) process.exit(code ?? 128 + constants.signals[signal])
}

function setUp(what) {
  const setup = [join(root, 'scripts/setup.mjs'), ...what]
  const { status } = spawnSync(process.execPath, setup, { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

function programIn(path) {
  return typeScriptFlags ? join(root, `${path}.ts`) : join(root, 'build', `${path}.js`)
}

/** The flags with which this Node runs TypeScript, or undefined if it does not. */
function flagsForTypeScript() {
  if (process.features.typescript) return []
  const flag = '--experimental-strip-types'
  return process.allowedNodeEnvironmentFlags.has(flag) ? [flag] : undefined
}

/** The package that the store of a URL needs. */
function driverOf(url = '') {
  if (/postgres(ql)?:/.test(url)) return ['pg']
  return /(kurrent(db)?|kdb|esdb)(\+discover)?:/.test(url) ? ['@kurrent/kurrentdb-client'] : []
}
