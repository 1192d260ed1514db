import { defineCommand, reject } from 'mneme'
import { describe, expect, test } from 'vitest'

import { simulate, SimulationError, type SimulateOptions } from 'mneme/simulation'
import { Account, bank } from './bank.ts'

describe('a correct program', () => {
  test.each<[string, Partial<SimulateOptions>]>([
    ['on a store that can do everything', {}],
    ['on a store that does not settle every append', { store: { settlesAny: false } }],
    ['without faults', { faults: {} }],
    ['in one process', { processes: 1 }],
  ])('passes %s', async (_, options) => {
    const report = await simulate({ ...bank, runs: 40, seed: 1, ...options })
    expect(report.executed).toBeGreaterThan(40 * 19)
    expect(report.events).toBeGreaterThan(400)
  })

  test('every fault strikes', async () => {
    const { faults } = await simulate({ ...bank, runs: 60, seed: 2 })
    expect(Object.entries(faults).filter(([, count]) => count === 0)).toEqual([])
  })
})

describe('a failure', () => {
  /** Correct in a test with one caller. */
  let served = 0
  const impure = defineCommand({
    name: 'withdraw',
    reads: (input: { account: string }) => Account(input.account),
    handle: () => (++served % 7 === 0 ? reject('every-seventh') : Account.events.Deposited({ amount: 1 })),
  })
  const failing: SimulateOptions = {
    seed: 3,
    runs: 50,
    faults: { lostAnswer: 0.5 },
    workload: ({ pick }) => ({ command: impure({ account: pick(['a', 'b']) }) }),
  }

  test('a decision that is not pure is found', async () => {
    await expect(simulate(failing)).rejects.toMatchObject({ name: 'SimulationError' })
  })

  const overdrawn: SimulateOptions = {
    ...bank,
    seed: 4,
    runs: 100,
    always: (world) => world.events < 5 || 'five events',
  }

  test('is shrunk, and its seed repeats it', async () => {
    const error = await simulate(overdrawn).catch((thrown: unknown) => thrown as SimulationError)
    expect(error).toBeInstanceOf(SimulationError)
    const { seed, kind, timeline, message } = error as SimulationError
    expect(kind).toBe('always')
    expect(message).toContain('five events')
    expect(message).toContain(`seed ${String(seed)}`)
    // Each command makes one event or two.
    expect(timeline.filter((line) => line.includes(' executes command')).length).toBeLessThanOrEqual(5)
    const again = await simulate({ ...overdrawn, seed, runs: 1 }).catch((thrown: unknown) => thrown)
    expect((again as SimulationError).message).toBe(message)
  })

  test('a wrong option is named', async () => {
    const wrong = (options: object) => simulate({ ...bank, ...options })
    await expect(wrong({ runs: 0 })).rejects.toThrow('runs')
    await expect(wrong({ faults: { crash: 2 } })).rejects.toThrow('faults.crash')
    await expect(wrong({ faults: { earthquake: 1 } })).rejects.toThrow('earthquake')
    await expect(wrong({ workload: undefined })).rejects.toThrow('workload')
    await expect(wrong({ seed: -1 })).rejects.toThrow('seed')
  })
})
