import { inspect } from 'node:util'
import type { Recorded } from '../model/event.ts'

/** The outcome of a command. */
export type Happened =
  | { readonly ok: true; readonly events: readonly Recorded[]; readonly state: unknown }
  | { readonly ok: false; readonly rejection: Rejection }
  | { readonly threw: unknown }

/** A rejection with any reason and details. */
export type Rejection = { readonly reason: string }

export function isAccepted(happened: Happened): happened is Extract<Happened, { ok: true }> {
  return 'ok' in happened && happened.ok
}

export function isRejected(happened: Happened): happened is Extract<Happened, { ok: false }> {
  return 'ok' in happened && !happened.ok
}

/** The outcome as the second half of a sentence. */
export function tellOf(happened: Happened): string {
  if ('threw' in happened) return `threw ${nameOf(happened.threw)}`
  if (!happened.ok) return `was rejected with ${happened.rejection.reason}`
  return `recorded ${typesOf(happened.events)}`
}

/** The outcome as a diff shows it. */
export function shownOf(happened: Happened): unknown {
  if ('threw' in happened) return happened.threw
  if (!happened.ok) return happened.rejection
  return happened.events.map(({ stream, type, data }) => ({ stream, type, data }))
}

/** The types of events; 'nothing' if there are none. */
export function typesOf(events: readonly { readonly type: string }[]): string {
  return events.length > 0 ? events.map(({ type }) => type).join(', ') : 'nothing'
}

/** The name of an error, a class or a matcher. */
export function nameOf(thrown: unknown): string {
  if (thrown instanceof Error) return `${thrown.name}: ${thrown.message.split('\n', 1)[0] ?? ''}`
  return typeof thrown === 'function' && thrown.name !== ''
    ? thrown.name
    : inspect(thrown, { breakLength: Infinity })
}
