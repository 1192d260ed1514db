import { InvalidArgumentError } from '../base/errors.ts'
import { isIsoTime } from '../base/iso-time.ts'

/** A call of a command by its name, as a reaction returns it: `ship({ order: '17' })`. */
export interface ReactionCall<Name extends string = string> {
  readonly name?: Name | undefined
  readonly input?: unknown
  readonly reads: unknown
}

/** A timer to be set: made by {@link after} or {@link at}. */
export interface SetTimer<Name extends string = string> {
  readonly timer: string
  /** Milliseconds after the event was recorded, or a time as ISO 8601. */
  readonly due: number | string
  readonly call: ReactionCall<Name>
}

/** A timer to be cancelled: made by {@link cancelTimer}. */
export interface CancelTimer {
  readonly cancel: string
}

/** What follows from an event: a call of a command, or a timer that is set or cancelled. */
export type Effect<Name extends string = string> = ReactionCall<Name> | SetTimer<Name> | CancelTimer

/** What a reaction returns: one effect, several in their order, or `[]` for none. */
export type Effects<Name extends string = string> = Effect<Name> | readonly Effect<Name>[]

/** A length of time: milliseconds, or a sum of units. */
export type Delay =
  | number
  | {
      readonly days?: number
      readonly hours?: number
      readonly minutes?: number
      readonly seconds?: number
      readonly milliseconds?: number
    }

/**
 * A command that is executed some time after the event was recorded, unless the timer is cancelled or set again before. The
 * time counts from the event's recorded time, whenever the event is handled; in an answer to the rejection of a timer's
 * command, from the time at which that timer was due.
 *
 * @param options `timer` names the timer within the reaction. Setting a timer of the same name again replaces it.
 * @throws InvalidArgumentError
 * @example
 * ```ts
 * const expireLater = (event: { stream: string }, call: ReactionCall<'order.expire'>) =>
 *   after({ minutes: 30 }, call, { timer: `unpaid:${event.stream}` })
 * ```
 */
export function after<Name extends string>(
  delay: Delay,
  call: ReactionCall<Name>,
  options: { readonly timer: string },
): SetTimer<Name> {
  return Object.freeze({ timer: checkTimerName(options), due: millisecondsOf(delay), call })
}

/**
 * A command that is executed at a time, unless the timer is cancelled or set again before; at once if the time has passed.
 *
 * @param time a `Date`, or a time as ISO 8601 with its zone.
 * @param options `timer` names the timer within the reaction. Setting a timer of the same name again replaces it.
 * @throws InvalidArgumentError
 */
export function at<Name extends string>(
  time: Date | string,
  call: ReactionCall<Name>,
  options: { readonly timer: string },
): SetTimer<Name> {
  const milliseconds = time instanceof Date ? time.getTime() : isIsoTime(time) ? Date.parse(time) : NaN
  if (Number.isNaN(milliseconds)) {
    throw new InvalidArgumentError('time', "a Date, or a time with its zone like '2026-05-17T08:00:00.000Z'")
  }
  return Object.freeze({
    timer: checkTimerName(options),
    due: new Date(milliseconds).toISOString(),
    call,
  })
}

/** Cancels a timer of the same reaction; nothing happens if there is none, or if it is being fired. */
export function cancelTimer(timer: string): CancelTimer {
  return Object.freeze({ cancel: checkTimerName({ timer }) })
}

/** @throws InvalidArgumentError */
export function checkTimerName(options: { readonly timer: string }): string {
  const { timer } = Object(options) as { readonly timer?: unknown }
  if (typeof timer !== 'string' || timer === '' || timer.length > MAX_TIMER_NAME || !isStorable(timer)) {
    throw new InvalidArgumentError(
      'timer',
      `a name of 1 to ${String(MAX_TIMER_NAME)} characters, without NUL and half surrogates`,
    )
  }
  return timer
}

/** Whether every database keeps a text as it is. */
export function isStorable(text: string): boolean {
  return !/[\0\p{Surrogate}]/u.test(text)
}

/** @throws InvalidArgumentError */
export function millisecondsOf(delay: Delay): number {
  const parts = (typeof delay === 'number' ? { milliseconds: delay } : Object(delay)) as object
  let sum = 0
  for (const [unit, value] of Object.entries(parts)) {
    if (value === undefined) continue
    if (!Object.hasOwn(UNITS, unit) || typeof value !== 'number' || !(value >= 0)) throw wrongDelay()
    sum += value * UNITS[unit as keyof typeof UNITS]
  }
  if (!(sum <= MAX_DATE_MS) || Object.keys(parts).length === 0) throw wrongDelay()
  return Math.round(sum)
}

function wrongDelay(): InvalidArgumentError {
  return new InvalidArgumentError(
    'delay',
    'milliseconds from 0, or like { minutes: 30 } or { hours: 1, seconds: 5 }',
  )
}

const UNITS = { milliseconds: 1, seconds: 1_000, minutes: 60_000, hours: 3_600_000, days: 86_400_000 }
/** The last time that a `Date` can hold. */
export const MAX_DATE_MS = 8.64e15
/** In UTF-16 units. */
const MAX_TIMER_NAME = 500
