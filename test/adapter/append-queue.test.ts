import type { AppendRequest, AppendVerdict } from 'mneme/adapter'
import { describe, expect, test } from 'vitest'

import { ManualClock } from '../support/manual-clock.ts'
import {
  AppendQueue,
  claimsOf,
  isKeyClaim,
  type CallRules,
  type QueuedAppend,
} from '../../src/adapter/append-queue.ts'

/** A queue whose calls are under the test's control. */
function queueOf(rules: Partial<CallRules> = {}) {
  const calls: Call[] = []
  const clock = new ManualClock()
  const queue = new AppendQueue(
    (batch, isPatient) =>
      new Promise((resolve) => {
        calls.push({ batch, isPatient, names: batch.map(({ claims }) => claims.join('+')), resolve })
      }),
    {
      maxCalls: 3,
      maxAppendsPerCall: 4,
      maxEventsPerCall: 100,
      claimsOf,
      mayShare: (_, claim) => !isKeyClaim(claim),
      isAlone: () => false,
      ...rules,
    },
    clock,
  )
  /** Lets a call under way be late. */
  const late = async () => {
    clock.advance(2)
    await ticked()
  }
  return { queue, calls, clock, late }
}

interface Call {
  readonly batch: readonly QueuedAppend[]
  readonly isPatient: boolean
  /** What each of its appends claims. */
  readonly names: readonly string[]
  readonly resolve: (again: readonly QueuedAppend[]) => void
}

function requestTo(stream: string, keys: readonly string[] = []): AppendRequest {
  return {
    conditions: [{ stream, expected: 'any' }],
    events: [{ stream, id: crypto.randomUUID(), type: 'Happened', version: 1, data: '{}', metadata: '{}' }],
    keys: keys.map((key) => ({ key, fingerprint: '', first: 0, count: 1 })),
    ids: 'made',
  }
}

const verdict: AppendVerdict = { kind: 'appended', revisions: [0], positions: ['1'], time: '', heads: [0] }

/** Settles all appends of a call. */
function settle({ batch, resolve }: Call): void {
  for (const append of batch) append.resolve(verdict)
  resolve([])
}

const ticked = () => new Promise((resolve) => setImmediate(resolve))

describe('the append queue', () => {
  test('an append alone goes at once, and those that wait meanwhile go in one call', async () => {
    const { queue, calls } = queueOf()
    const first = queue.append(requestTo('a'))
    await ticked()
    expect(calls.map(({ names, isPatient }) => [names, isPatient])).toEqual([[['a'], true]])
    const others = ['b', 'c', 'd'].map((stream) => queue.append(requestTo(stream)))
    settle(calls[0]!)
    await first
    await ticked()
    expect(calls.map(({ names, isPatient }) => [names, isPatient])[1]).toEqual([['b', 'c', 'd'], false])
    settle(calls[1]!)
    await Promise.all(others)
  })

  test('an append waits for the one under way to its stream, and for another call only until it is late', async () => {
    const { queue, calls, clock, late } = queueOf()
    const appends = [queue.append(requestTo('a'))]
    await ticked()
    appends.push(queue.append(requestTo('a')), queue.append(requestTo('b')))
    clock.advance(1)
    await ticked()
    expect(calls.map(({ names }) => names)).toEqual([['a']])
    await late()
    expect(calls.map(({ names }) => names)).toEqual([['a'], ['b']])
    settle(calls[1]!)
    await late()
    expect(calls).toHaveLength(2)
    settle(calls[0]!)
    await ticked()
    expect(calls[2]!.names).toEqual(['a'])
    settle(calls[2]!)
    await Promise.all(appends)
  })

  test('what a full call left is sent when that call is late, though no answer and no other append comes', async () => {
    const { queue, calls, late } = queueOf()
    const appends = Array.from({ length: 12 }, (_, i) => queue.append(requestTo(`s-${i}`)))
    await ticked()
    for (const expected of [1, 2, 3, 3]) {
      expect(calls).toHaveLength(expected)
      await late()
    }
    expect(calls.map(({ batch }) => batch.length)).toEqual([4, 4, 4])
    for (const call of calls) settle(call)
    await Promise.all(appends)
  })

  test('two appends under the same key do not share a call', async () => {
    const { queue, calls } = queueOf()
    const appends = [queue.append(requestTo('a', ['k'])), queue.append(requestTo('b', ['k']))]
    await ticked()
    expect(calls.map(({ batch }) => batch.length)).toEqual([1])
    settle(calls[0]!)
    await ticked()
    settle(calls[1]!)
    await Promise.all(appends)
  })

  test('an append that found a lock waits in a call of its own, with those behind it on the same stream', async () => {
    const { queue, calls, late } = queueOf()
    const appends = ['a', 'b', 'a', 'c'].map((stream) => queue.append(requestTo(stream)))
    await ticked()
    const [one] = calls
    const contended = one!.batch.filter(({ claims }) => claims[0] === 'a')
    for (const append of contended) append.isContended = true
    for (const append of one!.batch) if (!append.isContended) append.resolve(verdict)
    one!.resolve(contended)
    await ticked()
    expect(calls[1]).toMatchObject({ names: ['a', 'a'], isPatient: true })
    appends.push(queue.append(requestTo('a')), queue.append(requestTo('d')))
    await late()
    expect(calls[2]).toMatchObject({ names: ['d'] })
    expect(calls).toHaveLength(3)
    settle(calls[2]!)
    settle(calls[1]!)
    await ticked()
    settle(calls[3]!)
    await Promise.all(appends)
  })

  test('appends that a call returns are sent again in order and in smaller calls', async () => {
    const { queue, calls } = queueOf({ maxAppendsPerCall: 8 })
    const appends = ['a', 'b', 'c', 'd'].map((stream) => queue.append(requestTo(stream)))
    await ticked()
    for (const append of calls[0]!.batch) append.maxCallSize = 2
    calls[0]!.resolve(calls[0]!.batch)
    appends.push(queue.append(requestTo('e')))
    await ticked()
    expect(calls[1]!.names).toEqual(['a', 'b'])
    settle(calls[1]!)
    await ticked()
    expect(calls[2]!.names).toEqual(['c', 'd'])
    settle(calls[2]!)
    await ticked()
    expect(calls[3]!.names).toEqual(['e'])
    settle(calls[3]!)
    await Promise.all(appends)
  })

  test('an append that has to be alone shares no call, and does not hold up the others', async () => {
    const { queue, calls } = queueOf({ isAlone: ({ events }) => events[0]!.stream === 'alone' })
    const appends = ['a', 'alone', 'b'].map((stream) => queue.append(requestTo(stream)))
    await ticked()
    expect(calls[0]!.names).toEqual(['a', 'b'])
    settle(calls[0]!)
    await ticked()
    expect(calls[1]!.names).toEqual(['alone'])
    settle(calls[1]!)
    await Promise.all(appends)
  })

  test('a call has no more appends than the limit, which shrinks and grows again', async () => {
    const { queue, calls } = queueOf()
    queue.shrinkTo(2)
    const appends = Array.from({ length: 9 }, (_, i) => queue.append(requestTo(`s-${i}`)))
    for (let i = 0; i < 3; i++) {
      await ticked()
      settle(calls[i]!)
    }
    expect(calls.map(({ batch }) => batch.length)).toEqual([2, 3, 4])
    await Promise.all(appends)
  })

  test('a signal withdraws an append that waits, and giving up rejects those that wait', async () => {
    const { queue, calls } = queueOf()
    const sent = queue.append(requestTo('a'))
    await ticked()
    const ending = new AbortController()
    const withdrawn = queue.append(requestTo('a'), ending.signal)
    const waiting = queue.append(requestTo('a'))
    ending.abort(new Error('withdrawn'))
    await expect(withdrawn).rejects.toThrow('withdrawn')
    queue.giveUp(new Error('away'), 0)
    await expect(waiting).rejects.toThrow('away')
    settle(calls[0]!)
    expect(await sent).toBe(verdict)
  })
})
