// node scripts/test-soak.mjs [--brief] [file]...
//
// The soaks: kills, races, cuts and restarts for minutes, one file after the other. In full before a release; briefly,
// with the option. What they draw at random hangs on a seed, which is printed; `MNEME_SEED` repeats it.

import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const args = process.argv.slice(2)
const isBrief = args.includes('--brief')
const files = args.filter((arg) => arg !== '--brief')
const seed = process.env.MNEME_SEED ?? String(randomInt(2 ** 31))

const minutes = isBrief ? 6 : 45
const length = files.length > 0 ? '' : `: about ${minutes} minutes on two quiet cores`
console.log(`soaks, ${isBrief ? 'briefly' : 'in full'}${length}`)
console.log(`seed ${seed}: MNEME_SEED=${seed} draws the same again`)

const reporters = ['--reporter=default']
const reports = process.env.MNEME_REPORTS
if (reports) {
  mkdirSync(reports, { recursive: true })
  reporters.push('--reporter=json', `--outputFile.json=${join(reports, 'soak.json')}`)
}
const child = spawn(
  process.execPath,
  ['node_modules/vitest/vitest.mjs', 'run', '--config', 'vitest.soak.config.ts', ...reporters, ...files],
  {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, MNEME_SOAK: isBrief ? 'brief' : 'full', MNEME_SEED: seed },
  },
)
child.once('close', (code) => {
  console.log(`seed ${seed}: MNEME_SEED=${seed} draws the same again`)
  process.exit(code ?? 1)
})
