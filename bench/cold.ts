import { fork } from 'node:child_process'
import { once } from 'node:events'

import { median, type Figure } from './measure.ts'

/** What a process measures, and the least ratio that is aimed at. */
const cases: readonly (readonly [name: string, title: string, goal: number | undefined])[] = [
  ['alone', 'append alone', 0.95],
  ['callers', '64 callers of append, on streams of their own', 9],
  ['hundreds', 'appends of 100 events, to 100 raw inserts in a transaction', 0.9],
  ['thousands', 'appends of 1,000 events, to 1,000 raw inserts in a transaction', 0.9],
  ['command', 'execute on a stream of 10 events, alone', undefined],
  ['commands', '64 callers of execute, on streams of 100 events of their own', 8],
]

/**
 * SQLite in the first second of a process: what a short program and a test see, of which little is compiled yet. Each process
 * runs both sides five times in turn, without a warm-up, and the ratio of its medians counts once.
 */
export async function* coldFigures(): AsyncGenerator<Figure> {
  for (const [name, title, goal] of cases) {
    const ratios: number[] = []
    const [ours, theirs]: [number[], number[]] = [[], []]
    for (let process = 0; process < PROCESSES; process++) {
      const rounds = await measure(name)
      const [our, raw] = [median(rounds.map(([speed]) => speed)), median(rounds.map(([, speed]) => speed))]
      ratios.push(our / raw)
      ours.push(1e6 / our)
      theirs.push(1e6 / raw)
    }
    const ratio = median(ratios)
    const detail = `${median(ours).toFixed(1)} against ${median(theirs).toFixed(1)} µs an event`
    const figure = { name: `in the first second: ${title}`, value: `${ratio.toFixed(2)}  (${detail})` }
    yield goal === undefined ? figure : { ...figure, goal: `>= ${String(goal)}`, reached: ratio >= goal }
  }
}

/** Events a second in each round, of ours and of the raw side. */
async function measure(name: string): Promise<readonly (readonly [ours: number, raw: number])[]> {
  const process = fork(new URL('cold-sqlite.js', import.meta.url), [name])
  const exit = once(process, 'exit')
  const [rounds] = (await once(process, 'message')) as [[number, number][]]
  await exit
  return rounds
}

const PROCESSES = 7
