import { spawnSync } from 'node:child_process'

import { median, type Figure } from './measure.ts'

/** What importing the core costs above an empty program. */
export function* importFigures(): Generator<Figure> {
  const empty: number[] = []
  const core: number[] = []
  for (let run = 0; run < 11; run++) {
    empty.push(milliseconds(''))
    core.push(milliseconds("import 'mneme'"))
  }
  const cost = median(core) - median(empty)
  const value = `${cost.toFixed(1)} ms  (${median(core).toFixed(0)} ms against ${median(empty).toFixed(0)} ms)`
  yield { name: 'importing mneme, above an empty program', value, goal: '< 30 ms', reached: cost < 30 }
}

function milliseconds(program: string): number {
  const start = performance.now()
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program])
  if (status !== 0) throw new Error(String(stderr))
  return performance.now() - start
}
