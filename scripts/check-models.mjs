// node scripts/check-models.mjs [MODEL...]
//
// Runs the models of docs/decisions/models in the model checker spin: each must hold in every state that it can reach, and
// each of its wrong variants must be refuted. Needs spin and a C compiler (Debian: apt-get install spin gcc); without them
// it says so, and skips the models by name. It does not belong to `npm test`: the soaks run it.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const models = {
  horizon: {
    holds: [[], ['SEQUENCE_IS_CACHED']],
    refuted: [
      ['NOTHING_IS_EVER_READ'],
      ['LOCKS_BEFORE_THE_SEQUENCE'],
      ['ONE_SNAPSHOT'],
      ['DRAWN_BEFORE_REGISTERED'],
      ['NOT_REGISTERED'],
      ['LOCK_GOES_BEFORE_THE_COMMIT_IS_VISIBLE'],
      ['HORIZON_IS_A_NUMBER'],
      ['CHECKPOINT_IS_THE_HORIZON'],
      ['SEQUENCE_IS_CACHED', 'NOT_GUARDED'],
    ],
  },
  fence: {
    holds: [[]],
    refuted: [
      ['NOTHING_IS_EVER_HANDLED'],
      ['LEASE_IS_THE_FENCE'],
      ['COMPARED_AT_THE_START'],
      ['CHECKPOINT_BEFORE_THE_WRITES'],
      ['CHECKPOINT_AFTER_THE_WRITES'],
      ['FENCE_WITHOUT_THE_GENERATION'],
    ],
  },
}

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const wanted = process.argv.slice(2)
const unknown = wanted.find((name) => !(name in models))
if (unknown !== undefined) {
  console.error(`unknown model '${unknown}'; known models: ${Object.keys(models).join(', ')}`)
  process.exit(1)
}

const missing = [
  ['spin', '-V'],
  ['cc', '--version'],
].find(([command, option]) => spawnSync(command, [option]).error)
let failures = 0
for (const [name, { holds, refuted }] of Object.entries(models)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue
  if (missing) {
    console.log(`skipped  ${name}: ${missing[0]} is not installed`)
    continue
  }
  for (const names of holds) report(name, names, false)
  for (const names of refuted) report(name, names, true)
}
process.exit(failures === 0 ? 0 : 1)

function report(name, names, isWrong) {
  const folder = mkdtempSync(join(tmpdir(), 'mneme-model-'))
  try {
    const file = join(root, 'docs', 'decisions', 'models', `${name}.pml`)
    const defines = names.map((define) => `-D${define}`)
    run(folder, 'spin', '-a', ...defines, file)
    // What is refuted ends soon: compiling it well would take longer than running it.
    run(folder, 'cc', isWrong ? '-O0' : '-O2', '-w', '-DSAFETY', '-o', 'pan', 'pan.c')
    // -E: a process that waits for ever is no fault; -m: the longest path; -w: 2^22 slots of the hash table.
    const output = run(folder, './pan', '-E', '-m1000000', '-w22')
    const errors = Number(/errors: (\d+)/.exec(output)?.[1])
    const states = Number(/(\d+(?:\.\d+)?(?:e\+\d+)?) states, stored/.exec(output)?.[1])
    const isWhole = !/max search depth too small|out of memory|Search not completed/.test(output)
    const isAsItShould = isWrong ? errors > 0 : errors === 0 && isWhole
    const verdict = errors > 0 ? 'refuted' : isWhole ? 'holds' : 'not searched to the end'
    const title = [name, ...names].join(' ')
    const counted = states.toLocaleString('en')
    console.log(`${isAsItShould ? 'ok      ' : 'WRONG   '} ${title}: ${verdict}, ${counted} states`)
    if (isAsItShould) return
    failures++
    if (errors > 0) console.log(run(folder, 'spin', '-t', '-p', '-g', ...defines, file))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function run(cwd, command, ...args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  })
  if (error || status !== 0)
    throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`, { cause: error })
  return stdout
}
