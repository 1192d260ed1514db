import assert, { AssertionError, type AssertPredicate } from 'node:assert'
import { isDeepStrictEqual } from 'node:util'
import { InvalidArgumentError } from '../base/errors.ts'
import { givenInput } from '../model/command.ts'
import type { Recorded } from '../model/event.ts'
import { type Delay, millisecondsOf, type ReactionCall } from '../reactions/effects.ts'
import { effectsOf, planOf, type PlannedCall, type TimerChange } from '../reactions/plan.ts'
import { DefinedReaction, type Reaction } from '../reactions/reaction.ts'
import type { ReactionSpec } from '../reactions/spec.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import { difference } from './difference.ts'
import { testStore } from './test-store.ts'

/**
 * What is expected of a reaction. Await each expectation: it rejects with an `AssertionError` if it does not hold. No command is
 * executed.
 */
export interface Reacted {
  /**
   * These calls follow from the given events, in this order; after `later`, those of the timers that are due in that time. A call
   * that is rejected is followed by its answers.
   */
  thenCalls(calls: readonly ReactionCall[]): Promise<void>
  /** These timers wait, by their names, with these calls. */
  thenTimers(timers: Readonly<Record<string, ReactionCall>>): Promise<void>
  /** The reaction throws an error that matches, as in `assert.rejects`; or it blocks or parks an event. */
  thenThrows(matcher?: AssertPredicate): Promise<void>
  /** The same when so much more time has passed. */
  later(delay: Delay): Reacted
}

/** Options of `react`. */
export interface ReactOptions {
  /** Calls that are rejected, by the names of their commands: the reason, or the rejection with its details. */
  readonly rejected?: Readonly<Record<string, string | { readonly reason: string }>> | undefined
}

/** @param record appends the given events. */
export function reacted(
  reaction: Reaction<never>,
  { rejected = {} }: ReactOptions,
  record: (store: EventStore) => Promise<void>,
): Reacted {
  if (!(reaction instanceof DefinedReaction)) {
    throw new InvalidArgumentError('reaction', 'made by defineReaction')
  }
  const { spec } = reaction
  for (const name of Object.keys(rejected)) {
    if (spec.commands.has(name)) continue
    const known = [...spec.commands.keys()].join(', ')
    throw new InvalidArgumentError(`rejected['${name}']`, `the name of a command of the reaction: ${known}`)
  }
  const rejections = new Map(
    Object.entries(rejected).map(([name, why]) => [name, typeof why === 'string' ? { reason: why } : why]),
  )
  return expecting(spec, { rejections, record, delays: [] })
}

interface Trial {
  readonly rejections: ReadonlyMap<string, { readonly reason: string }>
  readonly record: (store: EventStore) => Promise<void>
  /** In milliseconds. */
  readonly delays: readonly number[]
}

function expecting(spec: ReactionSpec, trial: Trial): Reacted {
  let running: Promise<Course> | undefined
  const run = () => (running ??= courseOf(spec, trial))
  return {
    async thenCalls(calls) {
      if (!Array.isArray(calls)) throw new InvalidArgumentError('calls', 'a list of calls, or [] for none')
      compare('calls', (await run()).calls.map(shownOf), calls.map(callOf))
    },
    async thenTimers(timers) {
      const expected = Object.entries(timers).map(([timer, call]) => [timer, callOf(call)] as const)
      const actual = [...(await run()).timers].map(
        ([timer, { planned }]) => [timer, shownOf(planned)] as const,
      )
      compare('timers', Object.fromEntries(actual.sort(byName)), Object.fromEntries(expected.sort(byName)))
    },
    thenThrows: (matcher) => (matcher === undefined ? assert.rejects(run()) : assert.rejects(run(), matcher)),
    later: (delay) => expecting(spec, { ...trial, delays: [...trial.delays, millisecondsOf(delay)] }),
  }
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1
}

/** What has happened in the end. */
class Course {
  readonly #spec: ReactionSpec
  readonly #rejections: Trial['rejections']
  readonly timers = new Map<
    string,
    { readonly planned: PlannedCall; readonly due: number; readonly event: Recorded }
  >()
  calls: PlannedCall[] = []

  constructor(spec: ReactionSpec, rejections: Trial['rejections']) {
    this.#spec = spec
    this.#rejections = rejections
  }

  react(event: Recorded): void {
    const { calls, timers } = planOf(this.#spec, event)
    for (const call of calls) this.#call(call, event, Date.parse(event.time))
    this.#change(timers, event)
  }

  /** Fires the timers that are due by a time, in their order. */
  fire(until: number): void {
    this.calls = []
    for (;;) {
      const due = [...this.timers].filter(([, timer]) => timer.due <= until)
      const [first] = due.sort(([a, x], [b, y]) => x.due - y.due || byName([a, x], [b, y]))
      if (!first) return
      const [name, { planned, due: from, event }] = first
      this.timers.delete(name)
      this.#call(planned, event, from)
    }
  }

  #call(call: PlannedCall, event: Recorded, from: number): void {
    this.calls.push(call)
    const rejection = this.#rejections.get(call.command)
    if (!rejection) return
    const answer = this.#spec.rejected.get(call.command)
    const returned = answer?.(rejection as never, event)
    if (returned === 'ignore') return
    const told = `command '${call.command}' was rejected: ${rejection.reason}`
    if (!answer) throw new Error(`${told}; 'rejected' does not say what to do`)
    if (returned === 'block' || returned === 'park') throw new Error(`${told}, which ${returned}s the event`)
    if (this.calls.length > MAX_CALLS) throw new Error(`more than ${String(MAX_CALLS)} calls: ${told}`)
    const where = `what 'rejected' returns for '${call.command}'`
    const { calls, timers } = effectsOf(this.#spec, returned, { where, from, parent: call.path })
    for (const each of calls) this.#call(each, event, from)
    this.#change(timers, event)
  }

  #change(changes: readonly TimerChange[], event: Recorded): void {
    for (const change of changes) {
      if ('cancel' in change) this.timers.delete(change.cancel)
      else this.timers.set(change.timer, { planned: change, due: change.due, event })
    }
  }
}

async function courseOf(spec: ReactionSpec, { rejections, record, delays }: Trial): Promise<Course> {
  const store = testStore().store
  const course = new Course(spec, rejections)
  let now = -Infinity
  try {
    await record(store)
    const everything = { streams: undefined, categories: undefined, types: undefined }
    const range = { after: undefined, to: undefined, limit: undefined, direction: 'forwards' } as const
    for await (const page of coreOf(store).readAllForUser({ ...everything, ...range })) {
      for (const stored of page) {
        now = Math.max(now, Date.parse(stored.time))
        if (spec.selection.typeOf(stored) !== undefined) course.react(spec.selection.decode(stored))
      }
    }
  } finally {
    await store.close()
  }
  for (const delay of delays) course.fire((now += delay))
  return course
}

function callOf(call: ReactionCall): unknown {
  return shownOf({ command: call.name ?? '', input: givenInput(call) as never })
}

function shownOf({ command, input }: Pick<PlannedCall, 'command' | 'input'>): unknown {
  return input === undefined ? { command } : { command, input: JSON.parse(JSON.stringify(input)) as unknown }
}

function compare(what: string, actual: unknown, expected: unknown): void {
  if (isDeepStrictEqual(actual, expected)) return
  const message = `expected other ${what}\n\n- expected, + actual\n${difference(expected, actual)}`
  throw new AssertionError({ message, expected, actual })
}

const MAX_CALLS = 1_000
