import { defineClaim, defineCommand, reject } from 'mneme'
import { describe, expect, test } from 'vitest'

import { simulate, SimulationError, type SimulateOptions } from 'mneme/simulation'
import { Account, bank, deposit } from './bank.ts'

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

  test('a message that is delivered twice takes effect once', async () => {
    const report = await simulate({
      seed: 1,
      runs: 40,
      workload: ({ pick }) => {
        const key = pick(['1', '2', '3', '4', '5'])
        return { command: deposit({ to: pick(['a', 'b']), amount: 1 }), key }
      },
      always: (world) => world.events <= 5 || 'a key counted twice',
    })
    expect(report.outcomes.failed.KEY_REUSED).toBeGreaterThan(0)
    expect(report.outcomes.accepted).toBeGreaterThan(report.events)
  })

  test('a decision may look at its metadata, and processes may crash most of the time', async () => {
    const noting = defineCommand({
      reads: (input: { account: string }) => Account(input.account),
      handle: (_, _input, { metadata }) => Account.events.Deposited({ amount: Object.keys(metadata).length }),
    })
    const workload: SimulateOptions['workload'] = ({ pick, uuid }) => ({
      command: noting({ account: pick(['a', 'b']) }),
      key: uuid(),
    })
    const { faults } = await simulate({ workload, seed: 1, runs: 5, faults: { crash: 0.9 } })
    expect(faults.crash).toBeGreaterThan(100)
  })

  test('a claim is held by one owner', async () => {
    const Email = defineClaim({ name: 'Email', of: (text: string) => text, secret: 'sixteen bytes and more' })
    const register = defineCommand({
      reads: (input: { account: string; email: string }) => ({
        account: Account(input.account),
        email: Email(input.email),
      }),
      handle: ({ email }, { account }, { on }) =>
        email.owner === account
          ? [on.account(Account.events.Deposited({ amount: 1 })), on.email.release(account)]
          : [on.account(Account.events.Deposited({ amount: 1 })), on.email.claim(account)],
    })
    const report = await simulate({
      seed: 1,
      runs: 40,
      workload: ({ pick }) => register({ account: pick(['a', 'b', 'c']), email: pick(['x', 'y']) }),
    })
    expect(report.outcomes.rejected.taken).toBeGreaterThan(0)
    expect(report.outcomes.accepted).toBeGreaterThan(0)
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

  test('a rule or a workload that throws is told as such, with the seed', async () => {
    const broken = () => {
      throw new Error('my rule is broken')
    }
    await expect(simulate({ ...bank, seed: 6, always: broken })).rejects.toThrow(
      /^the property 'always' threw Error: my rule is broken\nseed 6,/,
    )
    await expect(simulate({ ...bank, seed: 6, runs: 1, eventually: broken })).rejects.toThrow(
      /my rule is broken\nseed 6,/,
    )
    await expect(simulate({ ...bank, seed: 6, always: () => undefined as never })).rejects.toThrow(
      'return true',
    )
    const late = () => Promise.resolve(deposit({ to: 'a', amount: 1 })) as never
    await expect(simulate({ workload: late, seed: 6 })).rejects.toThrow('something else than a command')
    await expect(simulate({ workload: broken, seed: 6 })).rejects.toThrow(/^the workload threw [^]*seed 6,/)
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
