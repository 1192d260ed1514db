// Everything that is checked without running the library. Goes on after a failure and reports at the end.

import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

const reports = process.env.MNEME_REPORTS
if (reports) mkdirSync(reports, { recursive: true })
const reporters = reports
  ? ['--reporter=default', '--reporter=json', `--outputFile.json=${join(reports, 'check-tests.json')}`]
  : []

const steps = {
  types: ['node_modules/typescript/lib/tsc.js', '--noEmit', '--pretty'],
  'types of the page': [
    'node_modules/typescript/lib/tsc.js',
    '-p',
    'tools/page/tsconfig.json',
    '--noEmit',
    '--pretty',
  ],
  lint: ['node_modules/eslint/bin/eslint.js', '.', '--max-warnings', '0'],
  format: ['node_modules/prettier/bin/prettier.cjs', '--check', '--log-level', 'warn', '.'],
  imports: ['scripts/check-imports.mjs'],
  unused: ['node_modules/knip/bin/knip.js', '--no-progress'],
  package: ['node_modules/publint/src/cli.js', '.', '--strict', '--pack', 'npm'],
  'package of the tools': ['node_modules/publint/src/cli.js', 'tools', '--strict', '--pack', 'npm'],
  tests: ['node_modules/vitest/vitest.mjs', 'run', '--project', 'check', ...reporters],
  'types of the package': [
    'node_modules/@arethetypeswrong/cli/dist/index.js',
    '--pack',
    '.',
    '--profile',
    'esm-only',
    '--format',
    'ascii',
  ],
}

// npm-run tools that pack must not build again: setup just did.
const env = { ...process.env, npm_config_ignore_scripts: 'true' }

const failed = []
for (const [name, args] of Object.entries(steps)) {
  const started = performance.now()
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, env, encoding: 'utf8' })
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`)
  if (status !== 0) {
    failed.push(name)
    console.log(`${stdout}${stderr}`)
  }
}

const total = Object.keys(steps).length
console.log(`check: ${total - failed.length} passed, ${failed.length} failed`)

if (reports) {
  const counts = { numPassedTests: total - failed.length, numFailedTests: failed.length }
  writeFileSync(join(reports, 'check.json'), JSON.stringify(counts))
}
process.exit(failed.length === 0 ? 0 : 1)
