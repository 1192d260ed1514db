import { InvalidArgumentError } from '../base/errors.ts'

/** A refusal that the domain knows: what `handle` returns instead of events. */
export interface Rejection<Reason extends string = string, Detail = {}> {
  readonly rejection: { readonly reason: Reason } & Detail
}

/** Refuses a command, with a reason that callers can tell apart by type. Nothing is appended. */
export function reject<const Reason extends string>(reason: Reason): Rejection<Reason>
/** The same, with whatever the caller should know. */
export function reject<const Reason extends string, Detail extends object & { readonly reason?: never }>(
  reason: Reason,
  detail: Detail,
): Rejection<Reason, Detail>
export function reject(reason: string, detail?: object): Rejection {
  if (typeof (reason as unknown) !== 'string') throw new InvalidArgumentError('reason', 'a string')
  return Object.freeze({ rejection: Object.freeze({ ...detail, reason }) })
}

/** Whether `handle` returned a rejection. */
export function isRejection(value: unknown): value is Rejection {
  return typeof value === 'object' && value !== null && 'rejection' in value
}
