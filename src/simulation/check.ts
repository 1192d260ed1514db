import { isDeepStrictEqual } from 'node:util'

import { isMnemeError } from '../base/errors.ts'
import type { Revision } from '../base/revision.ts'
import type { Outcome } from '../execution/execute.ts'
import { type Decider, describedStored, type History, type Redecided } from './history.ts'

/** Something that must not be. */
export interface Problem {
  /** Problems of one kind are the same while a failure is shrunk. */
  readonly kind: string
  readonly message: string
}

/** One call of `tryExecute`. */
export interface CallRecord extends Decider {
  /** Of the command; calls that repeat it under its key have the same number. */
  readonly number: number
  readonly key: string | undefined
  /** How many events the log had when it was called, and when it was answered. */
  readonly from: number
  to: number
  outcome: Outcome<unknown, unknown, { readonly reason: string }> | undefined
  error: unknown
}

/** The metadata by which events are known to be of a command. */
export const CALL = 'simulated-call'

/**
 * Checks every outcome against the log: what was stored, what each command decided on the very history before its events,
 * and what each caller was told.
 */
export async function checkCalls(
  history: History,
  calls: readonly CallRecord[],
): Promise<Problem | undefined> {
  const byNumber = new Map(calls.toReversed().map((call) => [call.number, call]))
  const places = new Map<string, Written>()
  for (const [number, own] of eventsByCall(history)) {
    const call = byNumber.get(number)!
    const problem = await checkWritten(history, call, own)
    if (problem) return problem
    const before = places.get(unitOf(call))
    if (before)
      return wrong('twice', call, `stored events, and so did command ${String(before.number)} with its key`)
    places.set(unitOf(call), { number, places: own })
  }
  const units = new Map<string, CallRecord[]>()
  for (const call of calls) {
    const unit = units.get(unitOf(call))
    if (unit) unit.push(call)
    else units.set(unitOf(call), [call])
  }
  for (const call of calls) {
    const attempts = units.get(unitOf(call))!
    const problem = await checkAnswer(history, call, places.get(unitOf(call)), attempts)
    if (problem) return problem
  }
  return undefined
}

/** What takes effect once: a command, or all commands with one key. */
function unitOf({ number, key }: CallRecord): string {
  return key === undefined ? String(number) : `key ${key}`
}

/** The events of such a unit, and the command that stored them. */
interface Written {
  readonly number: number
  readonly places: readonly number[]
}

/** The places in the log of each command's events. */
function eventsByCall({ log }: History): Map<number, number[]> {
  const places = new Map<number, number[]>()
  for (const [place, { metadata }] of log.entries()) {
    const number = Number((JSON.parse(metadata) as Record<string, string>)[CALL])
    if (Number.isNaN(number)) continue // of a reaction
    const own = places.get(number)
    if (own) own.push(place)
    else places.set(number, [place])
  }
  return places
}

/** A command's events are what it decides on the history before them, once and adjacent. */
async function checkWritten(
  history: History,
  call: CallRecord,
  places: readonly number[],
): Promise<Problem | undefined> {
  const first = places[0]!
  const { decisions } = await history.decide(call, first)
  const stored = places.map((place) => describedStored(history.log[place]!))
  if (places.at(-1)! - first !== places.length - 1) {
    return wrong('twice', call, `its events stand at ${list(places)}: they are not adjacent, or stored twice`)
  }
  const [decided] = decisions
  for (const one of decisions) {
    if (one.kind === 'events' && isDeepStrictEqual(one.events, stored)) return undefined
    if (one.kind === 'events' && isRepetition(stored, one.events)) {
      return wrong('twice', call, `stored ${list(stored)}, but decides ${said(one)}: it was stored twice`)
    }
  }
  return wrong(
    'stale decision',
    call,
    `stored ${list(stored)} at ${String(first)}, but decides ${said(decided!)} on the history before it`,
  )
}

async function checkAnswer(
  history: History,
  call: CallRecord,
  written: Written | undefined,
  attempts: readonly CallRecord[],
): Promise<Problem | undefined> {
  const { outcome, error } = call
  const isStored = written?.number === call.number
  if (outcome?.ok === true) return checkSuccess(history, call, outcome, { written, attempts })
  if (outcome) {
    const { rejection, revisions } = outcome
    if (isStored) return wrong('rejected and stored', call, 'was rejected, and stored events')
    const wanted = JSON.stringify(rejection)
    const isSo = await standsSomewhere(
      history,
      call,
      revisions,
      (decided) => decided.kind === 'rejected' && decided.rejection === wanted,
    )
    return isSo
      ? undefined
      : wrong('stale rejection', call, `was rejected with ${wanted}, which holds at no moment of the call`)
  }
  if (error === undefined) return undefined
  if (isMnemeError(error)) {
    if (MAY_BE_STORED.has(error.code) || attempts.length > 1 || !isStored) return undefined
    return wrong(
      'failed and stored',
      call,
      `failed with ${error.code}, which says that nothing was written, and stored events`,
    )
  }
  const isSo = await standsSomewhere(
    history,
    call,
    undefined,
    (decided) => decided.kind === 'threw' && textOf(decided.error) === textOf(error),
  )
  return isSo
    ? undefined
    : wrong('stale error', call, `threw ${textOf(error)}, which it does at no moment of the call`)
}

async function checkSuccess(
  history: History,
  call: CallRecord,
  { events, state, revisions, position, repeated }: Extract<CallRecord['outcome'], { readonly ok: true }>,
  { written, attempts }: { readonly written: Written | undefined; readonly attempts: readonly CallRecord[] },
): Promise<Problem | undefined> {
  const places = written?.places ?? []
  if (events.length === 0) {
    const isSo = await standsSomewhere(
      history,
      call,
      revisions,
      (decided) => decided.kind === 'events' && decided.events.length === 0,
    )
    return isSo
      ? undefined
      : wrong('stale decision', call, 'decided on no events, which it does at no moment of the call')
  }
  const told = events.map(({ id }) => id)
  const stored = places.map((place) => history.log[place]!.id)
  if (!isDeepStrictEqual(told, stored)) {
    return wrong('lost', call, `was told of the events ${list(told)}, but the log has ${list(stored)}`)
  }
  const last = places.at(-1)!
  if (position !== history.log[last]!.position)
    return wrong('position', call, `was told the position ${String(position)}`)
  if (repeated && attempts.length === 1) {
    return wrong('repeated', call, 'was told that it is a repeat, but it is the only one with its key')
  }
  const isKnown = attempts.some(({ outcome, to }) => outcome?.ok === true && to <= call.from)
  if (!repeated && (isKnown || written?.number !== call.number)) {
    return wrong('repeated', call, 'repeats a command under its key, but was told that it is the first')
  }
  // Under one key, the input that counts is that of the command that stored the events.
  if (written?.number !== call.number) return undefined
  const { streams } = await history.decide(call, places[0]!)
  for (const stream of streams) {
    const actual = history.revisionAt(stream, last + 1)
    if (revisions.get(stream) !== actual) {
      return wrong(
        'revision',
        call,
        `was told the revision ${String(revisions.get(stream))} of ${stream}; it was ${String(actual)}`,
      )
    }
  }
  const { reads } = call.command
  if ('fold' in reads && !isDeepStrictEqual(plain(state), plain(history.stateAt(reads as never, last + 1)))) {
    return wrong('state', call, 'was told a state that is not the fold of its stream')
  }
  return undefined
}

/** Whether the decision holds at a moment between the call and its answer, at which its streams had these revisions. */
async function standsSomewhere(
  history: History,
  call: CallRecord,
  revisions: ReadonlyMap<string, Revision> | undefined,
  isSo: (decided: Redecided) => boolean,
): Promise<boolean> {
  let before: string | undefined
  for (let length = call.to; length >= call.from; length--) {
    if (
      revisions &&
      ![...revisions].every(([stream, revision]) => history.revisionAt(stream, length) === revision)
    )
      continue
    const redecided = await history.decide(call, length)
    // The streams that it reads have not changed since the last place that was tried.
    const at = redecided.streams.map((stream) => history.revisionAt(stream, length)).join()
    if (at === before) continue
    before = at
    if (redecided.decisions.some(isSo)) return true
  }
  return false
}

/** Errors after which events may have been stored. */
const MAY_BE_STORED: ReadonlySet<string> = new Set(['OUTCOME_UNKNOWN'])

function wrong(kind: string, { number, command }: CallRecord, message: string): Problem {
  return {
    kind,
    message: `command ${String(number)}${command.name === undefined ? '' : ` (${command.name})`} ${message}`,
  }
}

function isRepetition(stored: readonly string[], decided: readonly string[]): boolean {
  return (
    decided.length > 0 &&
    stored.length > decided.length &&
    stored.every((event, i) => event === decided[i % decided.length])
  )
}

function said(decided: Redecided): string {
  if (decided.kind === 'events') return list(decided.events)
  return decided.kind === 'rejected'
    ? `the rejection ${decided.rejection}`
    : `the error ${textOf(decided.error)}`
}

function list(items: readonly unknown[]): string {
  return items.length === 0 ? 'nothing' : items.map(String).join(', ')
}

function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : JSON.stringify({ error })
}

/** Without prototypes, which states of the library and of the checker need not share. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify({ value }))
}
