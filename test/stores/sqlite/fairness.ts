import { join } from 'node:path'

import { Worker } from './processes.ts'

interface Percentiles {
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/**
 * What a light writer waits, and how late timers are, while two processes of 64 callers each write as fast as
 * they can: all to one file, and, to tell what the sharing adds to what the machine does, each to one of its own.
 * All in milliseconds.
 */
export async function measureFairness(driver: string, folder: string, rounds: number) {
  const apart = await measure(
    driver,
    ['a', 'b', 'light'].map((name) => join(folder, `${name}.db`)),
    rounds,
  )
  return { apart, together: await measureTogether(driver, folder, rounds) }
}

/** The same, with all three on one file. The busy writers stop after the light one is done. */
export function measureTogether(driver: string, folder: string, rounds: number) {
  return measure(driver, Array<string>(3).fill(join(folder, 'shared.db')), rounds)
}

async function measure(driver: string, [a = '', b = '', own = '']: string[], rounds: number) {
  const busy = [new Worker('busy', driver, a, 'a'), new Worker('busy', driver, b, 'b')]
  await Promise.all(busy.map((worker) => worker.said('busy')))
  const light = await new Worker('light', driver, own, rounds).result<{
    waits: number[]
    lateness: number[]
  }>()
  for (const worker of busy) worker.say('stop')
  const [one, other] = await Promise.all(
    busy.map((worker) => worker.result<{ appended: number; lateness: number[] }>()),
  )
  return {
    waits: percentiles(light.waits),
    /** How late timers were: in the light process, and in the busy ones. */
    late: { light: percentiles(light.lateness), busy: percentiles([...one!.lateness, ...other!.lateness]) },
    appended: [one!.appended, other!.appended],
  }
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((x, y) => x - y)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  return { count: values.length, p50: at(0.5), p99: at(0.99), max: at(1) }
}
