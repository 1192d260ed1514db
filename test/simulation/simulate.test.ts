import { defineAggregate, defineClaim, defineCommand, event, ofType, reject } from 'mneme'
import { defineProjection } from 'mneme/projections'
import { postgresTarget } from 'mneme/postgres'
import { sqliteTarget } from 'mneme/sqlite'
import { describe, expect, test } from 'vitest'

import { simulate, SimulationError, type SimulateOptions } from 'mneme/simulation'
import { DefinedProjection, definedProjection } from '../../src/projections/projection.ts'
import { FAULT_NAMES } from '../../src/simulation/faults.ts'
import { Account, balances, bank, deposit } from './bank.ts'
import { shop } from './shop.ts'

/** Sets aside every deposit of a round amount. */
const fussy = defineProjection({
  name: 'fussy',
  into: sqliteTarget('bank.db'),
  from: [Account],
  setup: (db) => db.exec('CREATE TABLE deposits (id TEXT, amount INT)'),
  onError: 'park',
  retry: { maxRetries: 1, maxDelay: 1 },
  on: {
    'Account.Deposited': ({ id, data }, db) => {
      db.prepare('INSERT INTO deposits VALUES (?, ?)').run(id, data.amount)
      if (data.amount % 10 === 0) throw new Error('a round amount')
    },
  },
})

describe('a correct program', () => {
  test.each<[string, Partial<SimulateOptions>]>([
    ['on a store that can do everything', {}],
    ['on a store that does not settle every append', { store: { settlesAny: false } }],
    ['without faults', { faults: {} }],
    ['in one process', { processes: 1 }],
    ['with reactions, timers and a relay', shop],
  ])('passes %s', async (_, options) => {
    const report = await simulate({ ...bank, runs: 20, seed: 1, ...options })
    expect(report.executed).toBeGreaterThan(20 * 19)
    expect(report.events).toBeGreaterThan(200)
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

  describe('with snapshots', () => {
    /** A counter whose snapshots keep what `kept` makes of its state. */
    const counting = (kept: (n: number) => number): Partial<SimulateOptions> => {
      const Counter = defineAggregate({
        name: 'Counter',
        events: { Counted: event<{ n: number }>() },
        initial: () => ({ n: 0 }),
        apply: { Counted: (state, { n }) => (n === state.n + 1 ? { n } : { n: -1 }) },
        snapshot: { version: 1, every: 2, toJson: ({ n }) => kept(n), fromJson: (n) => ({ n }) },
      })
      const count = defineCommand({
        reads: (counter: string) => Counter(counter),
        handle: ({ n }) => Counter.events.Counted({ n: n + 1 }),
      })
      return { workload: ({ pick, uuid }) => ({ command: count(pick(['a', 'b'])), key: uuid() }) }
    }
    const simulated = (kept: (n: number) => number) =>
      simulate({ seed: 1, runs: 8, faults: { crash: 0.05 }, ...counting(kept) } as SimulateOptions)

    test('every process decides on the states that folding gives', async () => {
      expect((await simulated((n) => n)).executed).toBeGreaterThan(100)
    })

    test('a snapshot that keeps another state is found', async () => {
      await expect(simulated((n) => n + 1)).rejects.toThrow(SimulationError)
    })
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

  test('a decision may look at the clock of its process, which jumps', async () => {
    const stamping = defineCommand({
      needs: ofType<{ clock: { now(): Date } }>(),
      reads: (input: { account: string }) => Account(input.account),
      handle: ({ balance }, _input, { clock }) => {
        const day = clock.now().getUTCHours()
        return balance > 100 ? reject('enough', { day }) : Account.events.Deposited({ amount: day })
      },
    })
    const report = await simulate({
      seed: 1,
      runs: 20,
      faults: { clockJump: 0.2, conflict: 0.3, crash: 0.05 },
      workload: ({ pick, uuid }, clock) => ({
        command: stamping({ account: pick(['a', 'b']) }),
        key: uuid(),
        needs: { clock },
      }),
    })
    expect(report.outcomes.accepted).toBeGreaterThan(100)
    expect(report.outcomes.rejected.enough).toBeGreaterThan(10)
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

  test('read models follow the log through every fault', async () => {
    const inTables = (table: string) => `(SELECT SUM(balance) FROM ${table})`
    const report = await simulate({
      ...bank,
      projections: [balances, fussy],
      seed: 1,
      runs: 10,
      eventually: (world) => {
        const [row] = world.query<{ readonly sum: number }>(`SELECT ${inTables('balances')} AS sum`)
        const states = ['a', 'b', 'c', 'd'].map((account) => world.state(Account(account)).balance)
        return (
          row?.sum === states.reduce((one, other) => one + other) ||
          'the balances are not those of the states'
        )
      },
    })
    expect(report.events).toBeGreaterThan(50)
  })

  test('read models go on although processes crash while they start', async () => {
    const crashing = { faults: { crash: 0.1 }, commands: 3, runs: 5, seed: 1 }
    const report = await simulate({ ...bank, projections: [balances], ...crashing })
    expect(report.faults.crash).toBeGreaterThan(20)
  })

  test('a rule that asks the read models holds until they are set up', async () => {
    let asked = 0
    const always: SimulateOptions['always'] = (world) => {
      const overdrawn = world.query('SELECT 1 FROM balances WHERE balance < -1000')
      asked++
      return overdrawn.length === 0
    }
    await simulate({ ...bank, projections: [balances], always, runs: 3, seed: 1 })
    expect(asked).toBeGreaterThan(20)
  })

  test('every fault strikes', async () => {
    const often = Object.fromEntries(FAULT_NAMES.map((name) => [name, 0.05]))
    const { faults } = await simulate({ ...bank, projections: [balances], faults: often, runs: 8, seed: 2 })
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

  test('a projection that keeps something outside of its tables is found', async () => {
    let count = 0
    const counting = defineProjection({
      name: 'counting',
      into: sqliteTarget('bank.db'),
      from: [Account],
      tables: ['counting'],
      setup: (db, { tables }) => db.exec(`CREATE TABLE ${tables.counting} (count INT)`),
      on: {
        'Account.Deposited': (_, db, { tables }) => {
          db.prepare(`INSERT INTO ${tables.counting} VALUES (?)`).run(++count)
        },
      },
    })
    const error = simulate({ ...bank, projections: [counting], seed: 1 })
    await expect(error).rejects.toMatchObject({ kind: 'read model' })
    await expect(error).rejects.toThrow("table 'counting' has")
  })

  test('a projection that is blocked is told with what its handler threw', async () => {
    const { name, definition } = definedProjection(fussy)!
    const blocking = new DefinedProjection({ ...definition, onError: 'block' })
    const error = simulate({ ...bank, projections: [blocking], seed: 1 })
    await expect(error).rejects.toMatchObject({ kind: 'blocked' })
    await expect(error).rejects.toThrow(`projection '${name}' is blocked: a round amount`)
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
    for (const workload of [late, () => undefined as never, () => 5 as never]) {
      await expect(simulate({ workload, seed: 6 })).rejects.toThrow('something else than a command')
    }
    await expect(simulate({ workload: broken, seed: 6 })).rejects.toThrow(/^the workload threw [^]*seed 6,/)
  })

  test('a wrong option is named', async () => {
    const wrong = (options: object) => simulate({ ...bank, ...options })
    await expect(wrong({ runs: 0 })).rejects.toThrow('runs')
    await expect(wrong({ faults: { crash: 2 } })).rejects.toThrow('faults.crash')
    await expect(wrong({ faults: { earthquake: 1 } })).rejects.toThrow('earthquake')
    await expect(wrong({ workload: undefined })).rejects.toThrow('workload')
    await expect(wrong({ seed: -1 })).rejects.toThrow('seed')
    await expect(wrong({ projections: balances })).rejects.toThrow('projections')
    await expect(wrong({ projections: [balances, balances] })).rejects.toThrow('different names')
    const { definition } = definedProjection(balances)!
    const target = postgresTarget('postgres://nowhere/bank') as typeof definition.target
    const elsewhere = new DefinedProjection({ ...definition, target })
    await expect(wrong({ projections: [elsewhere] })).rejects.toThrow('SQLite')
  })
})
