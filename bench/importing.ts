import { spawnSync } from 'node:child_process'

import { median, type Figure } from './measure.ts'

const subpaths = ['mneme', 'mneme/sqlite', 'mneme/postgres', 'mneme/kurrentdb']

/** The CPU time that importing a subpath costs above an empty program. */
export function* importFigures(): Generator<Figure> {
  const empty: number[] = []
  const costs = subpaths.map((): number[] => [])
  for (let run = 0; run < 11; run++) {
    empty.push(milliseconds(''))
    for (const [i, subpath] of subpaths.entries()) costs[i]!.push(milliseconds(`await import('${subpath}')`))
  }
  const base = median(empty)
  for (const [i, subpath] of subpaths.entries()) {
    const whole = median(costs[i]!)
    const cost = whole - base
    yield {
      name: `CPU time of importing ${subpath}, above an empty program`,
      value: `${cost.toFixed(1)} ms  (${whole.toFixed(0)} ms against ${base.toFixed(0)} ms)`,
      goal: '< 20 ms',
      reached: cost < 20,
    }
  }
}

/** The CPU time of a whole process, on all its threads. */
function milliseconds(program: string): number {
  const code = `${program}\nconst { user, system } = process.cpuUsage(); console.log((user + system) / 1000)`
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(stderr)
  return Number(stdout)
}
