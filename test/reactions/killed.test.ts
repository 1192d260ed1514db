import { createStore, type EventStore, ProjectionVersionError } from 'mneme'
import { type Reaction, runReactions, type RunningReactions } from 'mneme/reactions'
import { sqliteTarget } from 'mneme/sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'

import type { Clock } from '../../src/base/clock.ts'
import { StoreClosedError } from '../../src/base/errors.ts'
import type { StoreAdapter } from '../../src/adapter/store-adapter.ts'
import type { ProjectionTarget } from '../../src/adapter/projection-target.ts'
import { DefinedReaction } from '../../src/reactions/reaction.ts'
import type { ReactionSpec } from '../../src/reactions/spec.ts'
import { memoryAdapter, MemoryData } from '../../src/stores/memory/adapter.ts'
import { faultyTarget } from '../projections/faulty-target.ts'
import { gate, sql, until } from '../projections/rig.ts'
import { fastClock } from '../projections/clocks.ts'
import { typesOf } from './rig.ts'
import { Cancelled, fulfilment, Order, Paid, Placed, reordered } from './shop.ts'

/** A process that dies at a step: from then on, nothing that it does has an effect. */
class Mortal {
  readonly #dies: number
  steps = 0
  #isDead = false

  /** @param dies at which step; it has two for each transaction and each append: before it, and after its commit. */
  constructor(dies: number) {
    this.#dies = dies
  }

  get isDead(): boolean {
    return this.#isDead
  }

  readonly step = (): void => {
    if (++this.steps === this.#dies) this.#isDead = true
    if (this.#isDead) throw new StoreClosedError()
  }
}

/** A process that is halted at a step until it is told to go on. */
class Halting {
  readonly #halts: number
  readonly #halted = gate()
  readonly #goesOn = gate()
  steps = 0

  constructor(halts: number) {
    this.#halts = halts
  }

  get halted(): Promise<void> {
    return this.#halted.opened
  }

  goOn(): void {
    this.#goesOn.open()
  }

  readonly step = async (): Promise<void> => {
    if (++this.steps < this.#halts) return
    this.#halted.open()
    await this.#goesOn.opened
  }
}

type Step = () => void | Promise<void>

/** The store, as a process has it. */
function storeWith(data: MemoryData, step: Step): EventStore {
  const adapter = memoryAdapter(data)
  const append: StoreAdapter['append'] = async (request, signal) => {
    await step()
    const verdict = await adapter.append(request, signal)
    await step()
    return verdict
  }
  return createStore({ ...adapter, append })
}

function targetWith(step: Step): ProjectionTarget<unknown> {
  return faultyTarget(target, { before: step, after: step })
}

const HOUR = 3_600_000
const target = sqliteTarget(':memory:')
let runs = 0

/** One order that is paid, one that expires, one that was paid and then cancelled, one that is paid after its timer was set. */
async function history(store: EventStore): Promise<void> {
  await store.append({ stream: Order('paid'), events: [Placed({ item: 'a' }), Paid({ amount: 1 })] })
  await store.append({ stream: Order('unpaid'), events: [Placed({ item: 'b' })] })
  await store.append({ stream: Order('cancelled'), events: [Paid({ amount: 2 }), Cancelled()] })
  await store.append({ stream: Order('late'), events: [Placed({ item: 'c' })] })
  await store.append({ stream: Order('late'), events: [Paid({ amount: 3 })] })
}

/** Runs a reaction until it has nothing left to do, or until its process dies. */
async function live(mortal: Mortal, data: MemoryData, reaction: Reaction<never>): Promise<void> {
  const store = storeWith(data, mortal.step)
  const state = targetWith(mortal.step)
  try {
    const running = await runReactions(store, [reaction], { state })
    const isOver = async () => {
      if (mortal.isDead) return true
      const [status] = await running.status()
      return status?.lag.events === 0 && (await reaction.in(target).timers()).length === 0
    }
    await until(isOver, 'the reaction ends')
    await running.stop()
  } catch (error) {
    if (!mortal.isDead) throw error
  }
  await store.close()
}

/** The same reaction under a name of its own, an hour later. */
function renamed(reaction: Reaction<never>, name: string): DefinedReaction {
  const { spec } = reaction as unknown as { readonly spec: ReactionSpec }
  return new DefinedReaction({ ...spec, name, clock: fastClock, date: () => Date.now() + HOUR })
}

/** The types of events on each order. */
async function ordersOf(observer: EventStore): Promise<Record<string, string[]>> {
  const outcome: Record<string, string[]> = {}
  for (const id of ['paid', 'unpaid', 'cancelled', 'late'])
    outcome[id] = await typesOf(observer, `Order-${id}`)
  return outcome
}

/** Runs processes one after the other, each until it dies or has nothing left to do. */
async function outcomeOf(
  processes: readonly { readonly mortal: Mortal; readonly reaction: Reaction<never> }[],
): Promise<Record<string, string[]>> {
  const data = new MemoryData()
  const observer = createStore(memoryAdapter(data))
  await history(observer)
  const name = `killed-${String(runs++)}`
  for (const { mortal, reaction } of processes) {
    await live(mortal, data, renamed(reaction, name))
    if (mortal.isDead) await expireLease(name)
  }
  const outcome = await ordersOf(observer)
  await observer.close()
  return outcome
}

/** A successor does not wait for the lease of a worker that is dead or halted. */
async function expireLease(name: string): Promise<void> {
  await sql(target, `UPDATE PROJECTIONS SET lease_until = 0 WHERE name = '${name}'`).catch(() => undefined)
}

/** A process halts at a step, another one takes over and ends the work, and the first one goes on. */
async function outcomeOfHalt(
  halting: Halting,
  successor: Reaction<never>,
): Promise<Record<string, string[]>> {
  const data = new MemoryData()
  const observer = createStore(memoryAdapter(data))
  await history(observer)
  const name = `halted-${String(runs++)}`
  const store = storeWith(data, halting.step)
  const starting = runReactions(store, [renamed(fulfilment, name)], { state: targetWith(halting.step) })
  await halting.halted
  await expireLease(name)
  await live(immortal(), data, renamed(successor, name))
  halting.goOn()
  const running = await starting.catch((error: unknown) => {
    // It was halted before it had begun, and its successor is of a later version.
    if (error instanceof ProjectionVersionError) return undefined
    throw error
  })
  await running?.caughtUp().catch((error: unknown) => {
    if (!(error instanceof ProjectionVersionError)) throw error
  })
  await running?.stop()
  await store.close()
  const outcome = await ordersOf(observer)
  await observer.close()
  return outcome
}

const right = {
  paid: ['Placed', 'Paid', 'Shipped'],
  unpaid: ['Placed', 'Expired'],
  cancelled: ['Paid', 'Cancelled', 'Refunded'],
  late: ['Placed', 'Paid', 'Shipped'],
}
const immortal = () => new Mortal(Infinity)

test('killed at any step, and continued by another process, each command takes effect once', async () => {
  const whole = immortal()
  expect(await outcomeOf([{ mortal: whole, reaction: fulfilment }])).toEqual(right)
  for (let dies = 1; dies <= whole.steps; dies++) {
    const outcome = await outcomeOf([
      { mortal: new Mortal(dies), reaction: fulfilment },
      { mortal: immortal(), reaction: fulfilment },
    ])
    expect(outcome, `killed at step ${String(dies)}`).toEqual(right)
  }
})

test('killed at any step, and continued by a version that calls in another order, no command takes effect twice', async () => {
  const whole = immortal()
  await outcomeOf([{ mortal: whole, reaction: fulfilment }])
  for (let dies = 1; dies <= whole.steps; dies++) {
    const outcome = await outcomeOf([
      { mortal: new Mortal(dies), reaction: fulfilment },
      { mortal: immortal(), reaction: reordered },
    ])
    for (const [order, types] of Object.entries(outcome)) {
      expect(new Set(types).size, `${order}: ${types.join(' ')}, killed at step ${String(dies)}`).toBe(
        types.length,
      )
    }
  }
})

test('killed twice, at any two of some steps, each command takes effect once', async () => {
  const whole = immortal()
  await outcomeOf([{ mortal: whole, reaction: fulfilment }])
  for (let first = 1; first <= whole.steps; first += 5) {
    for (let second = 1 + (first % 5); second <= whole.steps; second += 7) {
      const outcome = await outcomeOf([
        { mortal: new Mortal(first), reaction: fulfilment },
        { mortal: new Mortal(second), reaction: fulfilment },
        { mortal: immortal(), reaction: fulfilment },
      ])
      expect(outcome, `killed at steps ${String(first)} and ${String(second)}`).toEqual(right)
    }
  }
})

test('halted at any step while another process takes over, each command takes effect once', async () => {
  const whole = immortal()
  await outcomeOf([{ mortal: whole, reaction: fulfilment }])
  // The last steps give the lease back.
  for (let halts = 1; halts <= whole.steps - 4; halts++) {
    const outcome = await outcomeOfHalt(new Halting(halts), fulfilment)
    expect(outcome, `halted at step ${String(halts)}`).toEqual(right)
  }
})

test('halted at any step while a later version takes over, no command takes effect twice', async () => {
  const whole = immortal()
  await outcomeOf([{ mortal: whole, reaction: fulfilment }])
  for (let halts = 1; halts <= whole.steps - 4; halts++) {
    const outcome = await outcomeOfHalt(new Halting(halts), reordered)
    for (const [order, types] of Object.entries(outcome)) {
      expect(new Set(types).size, `${order}: ${types.join(' ')}, halted at step ${String(halts)}`).toBe(
        types.length,
      )
    }
  }
})

describe('of two workers, the first of which stands still and does not notice that its lease has expired', () => {
  const order = Order('1')

  /** The place, and the workers of one reaction; each is halted when it has verified a rejection, or before it reads, or never. */
  async function openShop() {
    const data = new MemoryData()
    const observer = createStore(memoryAdapter(data))
    await observer.append({ stream: order, events: [Paid({ amount: 2 }), Cancelled()] })
    const { spec } = renamed(fulfilment, `rejected-${String(runs++)}`)
    const workers: { readonly started: Promise<RunningReactions>; readonly store: EventStore }[] = []
    const start = (clock: Clock, at?: 'rejection' | 'read') => {
      const [halted, goesOn] = [gate(), gate()]
      const halt = async () => {
        halted.open()
        await goesOn.opened
      }
      const adapter = memoryAdapter(data)
      let transactions = 0
      const before = () => {
        transactions++
      }
      const state = faultyTarget(target, { before })
      const store = createStore({
        ...adapter,
        async *read(request) {
          if (at === 'read') await halt()
          yield* adapter.read(request)
        },
        append: async (request, signal) => {
          const verdict = await adapter.append(request, signal)
          if (at === 'rejection' && request.events.length === 0) await halt()
          return verdict
        },
      })
      const begun = () => transactions
      const started = runReactions(store, [new DefinedReaction({ ...spec, clock })], { state })
      workers.push({ started, store })
      return { halted, goesOn, begun, started }
    }
    onTestFinished(async () => {
      for (const { started, store } of workers) {
        await (await started).stop()
        await store.close()
      }
      await observer.close()
    })
    return { observer, start, clock: spec.clock, expireLease: () => expireLease(spec.name) }
  }

  /** Stands still, as that of a process does that is paused. */
  const halted: Clock = { now: () => 0, after: () => () => undefined }

  test('the first writes no answer down once the second carries the plan out', async () => {
    const { observer, start, clock, expireLease } = await openShop()
    const first = start(halted, 'rejection')
    await first.halted.opened
    await expireLease()
    const second = start(clock, 'read')
    await second.halted.opened
    const before = first.begun()
    first.goesOn.open()
    // Its first transaction would write the answer down, and the second one comes after the answer.
    await until(() => first.begun() >= before + 2, 'the first worker goes on')
    await observer.append({ stream: order, events: [Paid({ amount: 3 })] })
    second.goesOn.open()
    await (await second.started).caughtUp()
    expect(await typesOf(observer, order)).toEqual(['Paid', 'Cancelled', 'Paid', 'Shipped', 'Shipped'])
  })

  test('a call of the first takes no effect once the second has answered its rejection', async () => {
    const { observer, start, clock, expireLease } = await openShop()
    const first = start(halted, 'read')
    await first.halted.opened
    await expireLease()
    const running = await start(clock).started
    await running.caughtUp()
    expect(await typesOf(observer, order)).toEqual(['Paid', 'Cancelled', 'Refunded'])
    // From here on it would be accepted.
    await observer.append({ stream: order, events: [Paid({ amount: 3 })] })
    await running.caughtUp()
    const before = first.begun()
    first.goesOn.open()
    await until(() => first.begun() > before, 'the first worker goes on')
    expect(await typesOf(observer, order)).toEqual(['Paid', 'Cancelled', 'Refunded', 'Paid', 'Shipped'])
  })
})
