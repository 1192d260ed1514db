import type { AppendRequest, StoreAdapter } from 'mneme/adapter'
import { describe, expect, test } from 'vitest'

import { checkSimulation, simulateRuns, SimulationError } from '../../src/simulation/simulate.ts'
import { changed } from '../../src/testing/contract/faults.ts'
import { StoreUnavailableError } from 'mneme'
import { bank } from './bank.ts'

// The checks can fail: each fault that is planted in the adapter is found, and named.

type Plant = (adapter: StoreAdapter) => StoreAdapter

/** An adapter that sends other requests. */
const sending = (change: (request: AppendRequest) => AppendRequest): Plant => {
  return (adapter) => changed(adapter, { append: (request) => adapter.append(change(request)) })
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
    'writes expect anything',
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
    ['twice', 'lost'],
    (adapter) =>
      changed(adapter, {
        append: (request) =>
          adapter.append(request).catch(async (error: unknown) => {
            if ((error as { code?: unknown }).code !== 'OUTCOME_UNKNOWN') throw error
            const events = request.events.map((event) => ({ ...event, id: crypto.randomUUID() }))
            return adapter.append({ ...request, events })
          }),
      }),
  ],
  [
    'an unknown outcome is reported as a failure',
    ['failed and stored'],
    (adapter) =>
      changed(adapter, {
        append: (request) =>
          adapter.append(request).catch((error: unknown) => {
            throw (error as { code?: unknown }).code === 'OUTCOME_UNKNOWN'
              ? new StoreUnavailableError('away')
              : error
          }),
      }),
  ],
  [
    'half of an append is stored',
    ['stale decision', 'lost'],
    sending(({ events, ...request }) => ({ ...request, events: events.slice(0, 1) })),
  ],
  [
    'a key that was used is taken for a success',
    ['lost'],
    (adapter) =>
      changed(adapter, {
        append: async (request) => {
          const verdict = await adapter.append(request)
          if (verdict.kind !== 'used' || request.events.length === 0) return verdict
          const { events, heads } = verdict.uses[0]!
          return {
            ...{ kind: 'appended', time: events[0]!.time },
            revisions: request.events.map((_, i) => events[i]?.revision ?? 0),
            positions: request.events.map((_, i) => events[i]?.position ?? events[0]!.position),
            heads: request.conditions.map(({ stream }) => new Map(heads).get(stream) ?? 'none'),
          }
        },
      }),
  ],
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
  [
    'a conflict is taken for a success',
    ['lost', 'stale decision'],
    (adapter) =>
      changed(adapter, {
        append: async (request) => {
          const verdict = await adapter.append(request)
          if (verdict.kind !== 'conflict' || request.events.length === 0) return verdict
          return {
            ...{ kind: 'appended', time: new Date(0).toISOString() },
            revisions: request.events.map(() => 0),
            positions: request.events.map(() => '0000000000000001'),
            heads: request.conditions.map(() => 0),
          }
        },
      }),
  ],
]

describe('a planted fault is found', () => {
  test.each(plants)('%s', async (_, kinds, plant) => {
    const plan = checkSimulation({ ...bank, always: undefined, seed: 5 })
    const error = await simulateRuns({ ...plan, plant }, 10_000).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(SimulationError)
    expect(kinds).toContain((error as SimulationError).kind)
  })
})
