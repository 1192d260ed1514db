import { InvalidArgumentError } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { isThenable } from '../base/functions.ts'
import { givenInput } from '../model/command.ts'
import type { Recorded } from '../model/event.ts'
import { fingerprint } from '../model/fingerprint.ts'
import { copyEventData, type PlainData } from '../model/json.ts'
import type { Metadata } from '../model/metadata.ts'
import { type Effect, MAX_DATE_MS, type SetTimer } from './effects.ts'
import type { ReactionSpec } from './spec.ts'

/** A call of a command as data. */
export interface PlannedCall {
  /** Tells it from the other calls that follow from the same event; its key is made of it ({@link keyOf}). */
  readonly path: string
  readonly command: string
  /** Left out if the command has none. */
  readonly input?: PlainData | undefined
  /** How many rejections in a row it answers, each at once. Default: 0. */
  readonly answers?: number | undefined
  /** Whether it was executed, of a plan that failed. */
  isDone?: boolean | undefined
}

/** A timer as data. */
export interface PlannedTimer extends PlannedCall {
  readonly timer: string
  /** Milliseconds since 1970. */
  readonly due: number
}

/** A change of a timer. */
export type TimerChange = PlannedTimer | { readonly cancel: string }

/**
 * What follows from an event. It is written down before the first of several effects, so that whichever worker or version
 * finishes it does the same.
 */
export interface Plan {
  /** The event's id. */
  readonly id: string
  /** The version of the reaction that made it. */
  readonly version: number
  /** Whether a call failed in the end. A later version then plans anew what was not executed. */
  isFailed?: boolean | undefined
  /** The metadata of the events that follow from it. */
  readonly metadata: Metadata
  calls: readonly PlannedCall[]
  timers: readonly TimerChange[]
}

/** What `on` says of an event. @throws what it throws; InvalidArgumentError, InvalidDataError if it returned no effects. */
export function planOf(spec: ReactionSpec, event: Recorded): Plan {
  const { id, type, metadata, time } = event
  const where = `what ${spec.kind} '${spec.name}' returns for '${type}'`
  const returned = spec.on.get(type)?.(event)
  const { correlation } = metadata
  return {
    id,
    version: spec.version,
    metadata: { causation: id, ...(correlation !== undefined && { correlation }) },
    ...effectsOf(spec, returned, { where, from: Date.parse(time) }),
  }
}

/**
 * The plan of a later version for an event of which an earlier version has executed some calls before one failed: those count,
 * and are not repeated.
 */
export function replanned(failed: Plan, plan: Plan): Plan {
  const done = failed.calls.filter(({ isDone }) => isDone)
  const used = new Set(done.map(({ path }) => rootOf(path)))
  const repeated = done.map(contentOf)
  const calls = plan.calls.flatMap((call) => {
    const index = repeated.indexOf(contentOf(call))
    if (index >= 0) {
      repeated.splice(index, 1)
      return []
    }
    // The key of a call that failed was not used; that of one that was executed has to stay its own.
    return used.has(call.path) ? [{ ...call, path: `v${String(plan.version)}.${call.path}` }] : [call]
  })
  return { ...plan, calls: [...done, ...calls] }
}

function contentOf({ command, input }: PlannedCall): string {
  return fingerprint([command, input])
}

/** Where effects come from. */
export interface Origin {
  /** In words, for errors. */
  readonly where: string
  /** The time from which delays count, in milliseconds since 1970. */
  readonly from: number
  /** The path of the call that they answer; `undefined` for those of an event. */
  readonly parent?: string | undefined
  /** How many rejections in a row they answer. */
  readonly answers?: number | undefined
}

/** Effects as data. @throws InvalidArgumentError, InvalidDataError */
export function effectsOf(
  spec: ReactionSpec,
  returned: unknown,
  { where, from, parent, answers }: Origin,
): Pick<Plan, 'calls' | 'timers'> {
  if (isThenable(returned)) {
    // Its rejection must not become an unhandled one.
    Promise.resolve(returned).catch(() => undefined)
    throw wrongEffect(where, 'no promise: it must be pure, so let a command do the asynchronous work')
  }
  const effects = (Array.isArray(returned) ? returned : [returned]) as readonly Effect[]
  const calls: PlannedCall[] = []
  const timers: TimerChange[] = []
  for (const [i, effect] of effects.entries()) {
    if (typeof (effect as unknown) !== 'object' || (effect as unknown) === null) {
      throw wrongEffect(where, 'calls of commands, timers, or [] for nothing')
    }
    const path = pathOf(parent, i)
    if ('cancel' in effect) timers.push({ cancel: effect.cancel })
    else if ('timer' in effect) {
      timers.push({
        ...callOf(spec, effect.call, where, path),
        timer: effect.timer,
        due: dueOf(effect, from, where),
      })
    } else calls.push({ ...callOf(spec, effect, where, path), ...(answers !== undefined && { answers }) })
  }
  return { calls, timers }
}

/**
 * The path of an effect: `'0'` and `'1'` of an event; `'0~1'`, `'0.1'` and `'0.2'` of the answers to the rejection of `'0'`,
 * and `'0~2'` of the first answer to that of `'0~1'`. Timers may answer timers for years, so the path before is made shorter.
 */
function pathOf(parent: string | undefined, index: number): string {
  if (parent === undefined) return String(index)
  if (index === 0) {
    const root = rootOf(parent)
    return `${root}~${String(Number(parent.slice(root.length + 1)) + 1)}`
  }
  return `${parent.length > MAX_PATH ? fingerprint(parent) : parent}.${String(index)}`
}

/** The path of the call to whose rejection a first answer leads back, perhaps over several first answers. */
function rootOf(path: string): string {
  return path.replace(/~\d+$/, '')
}

function dueOf({ due, timer }: SetTimer, from: number, where: string): number {
  const time = typeof due === 'number' ? from + due : Date.parse(due)
  if (Math.abs(time) <= MAX_DATE_MS) return time
  throw wrongEffect(where, `timers that are due at a time that a Date can hold, unlike '${timer}'`)
}

function callOf(spec: ReactionSpec, call: unknown, where: string, path: string): PlannedCall {
  const { name } = Object(call) as { readonly name?: unknown }
  if (typeof name !== 'string' || !spec.commands.has(name)) {
    const what = typeof name === 'string' ? `'${name}', which is` : 'a call without a name, which is'
    throw wrongEffect(
      where,
      `calls of its 'commands' (${[...spec.commands.keys()].join(', ')}), not ${what} none of them`,
    )
  }
  const input = givenInput(call as object)
  if (input === undefined) return { path, command: name }
  const copy = copyEventData({ input }, `the call of '${name}'`)
  return { path, command: name, input: copy.input }
}

function wrongEffect(where: string, expected: string): InvalidArgumentError {
  return new InvalidArgumentError(where, expected)
}

/**
 * The idempotency key of a call. A first answer has that of the call that it answers: only one of the two takes effect, even if
 * a worker that stood still has the call accepted after all.
 */
export function keyOf(reaction: string, event: string, path: string): string {
  const key = `reaction/${reaction}/${event}/${rootOf(path)}`
  return key.length * 3 <= limits.keyBytes ? key : `reaction/${fingerprint(key)}`
}

/** Longer paths are made shorter; in characters. */
const MAX_PATH = 100
