import assert from 'node:assert/strict'
import { inspect } from 'node:util'

import { ConflictError } from '../../base/errors.ts'
import type { Recorded } from '../../model/event.ts'
import type { EventStore } from '../../store/event-store.ts'

/** Everything that an iteration gives. */
export async function drain<T>(iteration: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of iteration) all.push(item)
  return all
}

/** Every event of the store, in its order. */
export function everything(store: EventStore): Promise<Recorded[]> {
  return drain(store.readAll())
}

/** The error of this class that a call throws or rejects with. Any other outcome fails the case. */
export async function failureOf<E extends Error>(
  type: abstract new (...args: never) => E,
  call: () => unknown,
): Promise<E> {
  let value: unknown
  try {
    value = await call()
  } catch (error) {
    if (error instanceof type) return error
    assert.fail(`expected ${type.name}, got ${String(error)}`)
  }
  assert.fail(`expected ${type.name}, but the call succeeded with ${inspect(value).slice(0, 500)}`)
}

/**
 * What a call throws or rejects with. Unlike `assert.rejects`, it compares nothing: in a test runner that gives each file
 * a realm of its own (Jest does), an error made there is no instance of the `Error` that `node:assert` knows.
 */
export async function thrownBy(call: () => unknown): Promise<unknown> {
  let value: unknown
  try {
    value = await call()
  } catch (error) {
    return error
  }
  assert.fail(`expected an error, but the call succeeded with ${inspect(value).slice(0, 500)}`)
}

/** Concurrent calls, sorted by their outcome. A call that fails with an error of another class fails the case. */
export async function race<T, E extends Error = ConflictError>(
  calls: readonly Promise<T>[],
  type: abstract new (...args: never) => E = ConflictError as never,
): Promise<{ readonly won: T[]; readonly lost: E[]; readonly wins: boolean[] }> {
  const outcomes = await Promise.allSettled(calls)
  const won: T[] = []
  const lost: E[] = []
  for (const outcome of outcomes) {
    if (outcome.status === 'fulfilled') won.push(outcome.value)
    else if (outcome.reason instanceof type) lost.push(outcome.reason)
    else throw outcome.reason
  }
  return { won, lost, wins: outcomes.map(({ status }) => status === 'fulfilled') }
}

/** Runs a part of a case, and fails if the store holds other events afterwards. */
export async function nothingWritten<T>(store: EventStore, part: () => Promise<T>): Promise<T> {
  const before = await everything(store)
  const value = await part()
  assert.deepEqual(await everything(store), before, 'something was written')
  return value
}

/** Lets everything continue that waits for a turn of the event loop. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
