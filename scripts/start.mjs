// npm start: the bank of examples/bank. A Node that runs TypeScript and has SQLite (22.18 and newer) runs it from the
// sources without any set-up. What another Node lacks, and the driver of another store, is installed first.

import { spawn, spawnSync } from 'node:child_process'
import { isBuiltin } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const args = process.argv.slice(2)
const typeScriptFlags = flagsForTypeScript()

const packages = [
  ...(typeScriptFlags ? [] : ['rolldown']),
  ...(isBuiltin('node:sqlite') ? [] : ['better-sqlite3']),
  ...driverOf(args.findLast((arg) => /^(--store=)?\w+(\+discover)?:/.test(arg))),
]
const builds = typeScriptFlags ? [] : ['js', 'programs']
if (packages.length > 0) {
  const setup = [join(root, 'scripts/setup.mjs'), '--only', packages.join(), ...builds]
  const { status } = spawnSync(process.execPath, setup, { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

const program = typeScriptFlags
  ? [...typeScriptFlags, '--conditions=mneme:source', join(root, 'examples/bank/main.ts')]
  : [join(root, 'build/examples/bank/main.js')]
const nodeArgs = ['--disable-warning=ExperimentalWarning', ...program, ...args]
const bank = spawn(process.execPath, nodeArgs, { stdio: 'inherit' })
// Ctrl-C in a terminal reaches the bank as well, which ends in its own time.
process.on('SIGINT', () => undefined)
process.on('SIGTERM', () => bank.kill('SIGTERM'))
bank.once('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))

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
