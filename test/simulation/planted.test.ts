import { AsyncResource } from 'node:async_hooks'

import { StoreUnavailableError } from 'mneme'
import type { AppendRequest, AppendVerdict, StoreAdapter } from 'mneme/adapter'
import { afterEach, describe, expect, test, vi } from 'vitest'

import type {
  ProjectionTarget,
  TargetQuery,
  TargetRow,
  TargetSteps,
} from '../../src/adapter/projection-target.ts'
import type { Planted } from '../../src/simulation/run.ts'
import {
  checkSimulation,
  simulateRuns,
  SimulationError,
  type SimulateOptions,
} from '../../src/simulation/simulate.ts'
import type { SqliteDatabase } from '../../src/stores/sqlite/driver.ts'
import { changed } from '../../src/testing/contract/faults.ts'
import { balances, bank } from './bank.ts'
import { shop } from './shop.ts'

// The checks can fail: each fault that is planted is found, and named.

type Plant = (adapter: StoreAdapter) => StoreAdapter

/** An adapter that sends other requests. */
const sending = (change: (request: AppendRequest) => AppendRequest): Plant => {
  return (adapter) => changed(adapter, { append: (request) => adapter.append(change(request)) })
}

/** An adapter that takes some verdicts on appends for successes. */
const takingForSuccess = (kind: AppendVerdict['kind']): Plant => {
  return (adapter) =>
    changed(adapter, {
      append: async (request) => {
        const verdict = await adapter.append(request)
        if (verdict.kind !== kind || request.events.length === 0) return verdict
        return {
          ...{ kind: 'appended', time: new Date(0).toISOString() },
          revisions: request.events.map(() => 0),
          positions: request.events.map(() => '0000000000000001'),
          heads: request.conditions.map(() => 0),
        }
      },
    })
}

/** An adapter that does something else when the outcome of an append is unknown. */
const onUnknown = (
  act: (adapter: StoreAdapter, request: AppendRequest) => Promise<AppendVerdict> | never,
): Plant => {
  return (adapter) =>
    changed(adapter, {
      append: (request) =>
        adapter.append(request).catch((error: unknown) => {
          if ((error as { code?: unknown }).code !== 'OUTCOME_UNKNOWN') throw error
          return act(adapter, request)
        }),
    })
}

const isWritten = ({ events }: AppendRequest, stream: string) =>
  events.some((event) => event.stream === stream)

const plants: readonly [string, readonly string[], Plant][] = [
  ['idempotency keys are dropped', ['twice'], sending((request) => ({ ...request, keys: [] }))],
  [
    'streams that are only read have no condition',
    ['stale decision', 'revision'],
    sending((request) => ({
      ...request,
      conditions: request.conditions.filter(
        ({ stream }) => request.events.length === 0 || isWritten(request, stream),
      ),
    })),
  ],
  [
    'what was decided on a cached state is appended without a condition',
    ['stale decision', 'revision'],
    sending((request) => ({
      ...request,
      conditions: request.conditions.map(({ stream }) => ({ stream, expected: 'any' })),
    })),
  ],
  [
    'rejections on cached states are not verified',
    ['stale rejection'],
    (adapter) =>
      changed(adapter, {
        append: (request) =>
          request.events.length > 0
            ? adapter.append(request)
            : Promise.resolve({
                ...{ kind: 'appended', revisions: [], positions: [], time: '' },
                heads: request.conditions.map(({ expected }) => expected as number),
              }),
      }),
  ],
  [
    'an append whose outcome is unknown is made again with new ids',
    ['twice', 'lost', 'repeated'],
    onUnknown((adapter, request) => {
      const events = request.events.map((event) => ({ ...event, id: crypto.randomUUID() }))
      return adapter.append({ ...request, events })
    }),
  ],
  [
    'an unknown outcome is reported as a failure',
    ['failed and stored'],
    onUnknown(() => {
      throw new StoreUnavailableError('away')
    }),
  ],
  [
    'half of an append is stored',
    ['stale decision', 'lost'],
    sending(({ events, ...request }) => ({ ...request, events: events.slice(0, 1) })),
  ],
  ['a key that was used is taken for a success', ['lost'], takingForSuccess('used')],
  ['a conflict is taken for a success', ['lost', 'stale decision'], takingForSuccess('conflict')],
  [
    'a subscriber misses a wake-up',
    ['subscription'],
    (adapter) =>
      changed(adapter, {
        subscribe: async function* (request) {
          for await (const page of adapter.subscribe(request)) {
            yield page
            if (page.isCaughtUp) await new Promise(() => undefined)
          }
        },
      }),
  ],
  [
    'a subscriber is given a page twice',
    ['subscription'],
    (adapter) =>
      changed(adapter, {
        subscribe: async function* (request) {
          for await (const page of adapter.subscribe(request)) {
            yield page
            if (page.events.length > 2) yield page
          }
        },
      }),
  ],
  [
    'caughtUp() does not wait for what was acknowledged',
    ['caught up'],
    (adapter) => changed(adapter, { logHead: () => adapter.idAt('0000000000000001').then(() => undefined) }),
  ],
]

type Target = ProjectionTarget<SqliteDatabase>
type Change = (asked: TargetQuery) => TargetQuery

/** A target that asks other queries in its transactions. */
const asking = (change: Change) => {
  return (target: Target): Target => ({
    ...target,
    transaction: (work, idle, first) =>
      target.transaction((tx, rows) => changing(work(tx, rows), change), idle, first && change(first)),
  })
}

function* changing<T>(steps: TargetSteps<T>, change: Change): TargetSteps<T> {
  let step = steps.next()
  while (!step.done) {
    const rows: readonly TargetRow[] = yield 'sql' in step.value ? change(step.value) : step.value
    step = steps.next(rows)
  }
  return step.value
}

const COMPARED = /AND position IS NOT DISTINCT FROM \$\d+ AND event_id IS NOT DISTINCT FROM \$\d+/
const isMove = ({ sql }: TargetQuery) => sql.startsWith('UPDATE PROJECTIONS SET store =')
const rewrite = (from: RegExp, to: string): Change => {
  return ({ sql, values }) => ({ sql: sql.replace(from, to), values })
}

/** A target that moves the checkpoint in a transaction of its own, before that of the handlers or after it. */
const inTwo = (order: 'checkpoint first' | 'handlers first') => {
  return (target: Target): Target => ({
    ...target,
    async transaction<T>(
      work: (tx: SqliteDatabase, rows: readonly TargetRow[]) => TargetSteps<T>,
      idle: number,
      first?: TargetQuery,
    ) {
      const move: TargetQuery[] = []
      const handle = (isKept: boolean) =>
        target.transaction(
          function* (tx, rows) {
            const steps = work(tx, rows)
            let step = steps.next()
            while (!step.done) {
              const asked = step.value
              if ('sql' in asked && isMove(asked)) {
                move.push(asked)
                step = steps.next([{ name: '' }])
              } else step = steps.next(yield asked)
            }
            if (!isKept && move.length > 0) throw new Undone()
            return step.value
          },
          idle,
          isKept && order === 'checkpoint first' ? undefined : first,
        )
      const moveAlone = () =>
        target.transaction(function* () {
          yield move[0]!
        }, idle)
      if (order === 'handlers first') {
        const result = await handle(true)
        if (move.length > 0) await moveAlone()
        return result
      }
      try {
        return await handle(false)
      } catch (error) {
        if (!(error instanceof Undone)) throw error
      }
      await moveAlone()
      return target.transaction((tx) => withoutMove(work(tx, [{ name: '' }])), idle)
    },
  })
}

/** The handlers' part has to be undone, because the checkpoint goes first. */
class Undone extends Error {}

function* withoutMove<T>(steps: TargetSteps<T>): TargetSteps<T> {
  let step = steps.next()
  while (!step.done) {
    const asked = step.value
    step = steps.next('sql' in asked && isMove(asked) ? [{ name: '' }] : yield asked)
  }
  return step.value
}

const targetPlants: readonly [string, readonly string[], (target: Target) => Target][] = [
  ['the fence is removed', ['read model'], asking(rewrite(COMPARED, ''))],
  [
    'a lease takes the place of the fence',
    ['read model'],
    asking((asked) => rewrite(COMPARED, isMove(asked) ? 'AND owner = $5' : '')(asked)),
  ],
  ['the checkpoint is written before what the handlers write', ['read model'], inTwo('checkpoint first')],
  ['the checkpoint is written after what the handlers write', ['read model'], inTwo('handlers first')],
  [
    'the lease of a worker that crashed never ends',
    ['read model'],
    asking(rewrite(/\(lease_until <= NOW OR lease_until - lease_ms > NOW\)/, 'owner IS NULL')),
  ],
]

const reactionPlants: readonly [string, Planted][] = [
  ['the calls of a reaction have no keys', { adapter: sending((request) => ({ ...request, keys: [] })) }],
  [
    'the calls of a reaction have another key each time',
    {
      adapter: sending((request) => ({
        ...request,
        keys: request.keys.map((key) => ({ ...key, key: crypto.randomUUID() })),
      })),
    },
  ],
  [
    'a reaction goes on without its calls',
    {
      reaction: (spec) =>
        spec.kind === 'reaction'
          ? { ...spec, on: new Map([...spec.on].map(([type]) => [type, () => []])) }
          : spec,
    },
  ],
  [
    'a timer is removed before it is fired',
    { target: asking(rewrite(/UPDATE TIMERS SET state = 'firing' WHERE/, 'DELETE FROM TIMERS WHERE')) },
  ],
  [
    'a timer is not cancelled',
    { target: asking(rewrite(/DELETE FROM TIMERS WHERE name = \$1 AND timer IN/, '$& (0) AND timer IN')) },
  ],
  [
    'a relay leaves an event out',
    {
      reaction: (spec) =>
        spec.kind === 'relay'
          ? {
              ...spec,
              selection: {
                ...spec.selection,
                typeOf: (event) => (event.revision === 1 ? undefined : spec.selection.typeOf(event)),
              },
            }
          : spec,
    },
  ],
]

async function find(planted: Planted, options: Partial<SimulateOptions> = {}): Promise<SimulationError> {
  const plan = await checkSimulation({ ...bank, always: undefined, seed: 5, ...options })
  const error = await simulateRuns({ ...plan, planted }, 10_000).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(SimulationError)
  return error as SimulationError
}

describe('a planted fault is found', () => {
  test.each(plants)('%s', async (_, kinds, adapter) => {
    expect(kinds).toContain((await find({ adapter })).kind)
  })

  test.each(targetPlants)('%s', async (_, kinds, target) => {
    expect(kinds).toContain((await find({ target }, { projections: [balances], commands: 6 })).kind)
  })

  test.each(reactionPlants)('%s', async (_, planted) => {
    const options = { ...shop, commands: 6, faults: { crash: 0.02, lostAnswer: 0.1, lostLease: 0.1 } }
    expect((await find(planted, options)).kind).toBe('effect')
  })

  test('a repeated append is reported as the first', async () => {
    const { kind } = await find({
      outcome: (outcome) => (outcome.ok ? { ...outcome, repeated: false } : outcome),
    })
    expect(kind).toBe('repeated')
  })

  describe('with asynchronous contexts', () => {
    afterEach(() => {
      vi.restoreAllMocks()
    })

    test("a command decides in another caller's asynchronous context", async () => {
      vi.spyOn(AsyncResource.prototype, 'runInAsyncScope').mockImplementation((call) => call.call(undefined))
      expect((await find({})).kind).toBe('context')
    })
  })
})
