import { InvalidArgumentError } from '../base/errors.ts'
import type { Claim } from '../model/claim.ts'
import { isRejection, type OnStream, reject, type Rejection } from '../model/command.ts'
import type { Event } from '../model/event.ts'

/** The owner of each stream of a decision's claims, by the stream's name; `undefined` if nobody has claimed it. */
export type Owners = ReadonlyMap<string, string | undefined>

/** What `on` has for a claim. */
interface Claiming {
  claim(owner: string): ClaimChange | Rejection<'taken', { claim: string }>
  release(owner?: string): ClaimChange
}

/** A claim or a release that a decision may return. Its events are found by {@link settleClaims}. */
export interface ClaimChange extends OnStream<Event> {
  readonly change: 'claim' | 'release'
  readonly of: Claim
  /** Who claims; or whose claim is released, `undefined` for anybody's. */
  readonly owner: string | undefined
  /** The owners when the decision began. */
  readonly before: Owners
}

/**
 * Claims and releases a value.
 *
 * @param called what the decision has called so far, of all its claims; added to.
 */
export function claiming(of: Claim, before: Owners, called: ClaimChange[]): Claiming {
  const changing = (change: 'claim' | 'release', owner: string | undefined): ClaimChange => {
    return { stream: of.streams[0]!.stream, events: [], change, of, owner, before }
  }
  return {
    claim: (owner) => {
      checkOwner(owner, of.claim)
      const change = changing('claim', owner)
      const settled = settleClaims([...called, change])
      if (isRejection(settled)) return settled
      called.push(change)
      return change
    },
    release: (owner) => {
      if (owner !== undefined) checkOwner(owner, of.claim)
      const change = changing('release', owner)
      called.push(change)
      return change
    },
  }
}

/** Whether an item that `handle` returned is a claim or a release. */
export function isClaimChange(item: unknown): item is ClaimChange {
  return typeof item === 'object' && item !== null && 'change' in item && 'before' in item
}

/**
 * The events of all claims and releases of a decision, by the stream. Releases come before claims in whichever order they
 * are given: a value that one owner releases and claims, perhaps in another spelling, must not be lost.
 *
 * @returns a rejection if a value that is claimed has another owner.
 */
export function settleClaims(
  changes: readonly ClaimChange[],
): ReadonlyMap<string, readonly Event[]> | Rejection<'taken', { claim: string }> {
  const after = new Map(changes[0]?.before)
  for (const { change, of, owner } of changes) {
    if (change === 'claim') continue
    for (const { stream } of of.streams) {
      if (owner === undefined || after.get(stream) === owner) after.set(stream, undefined)
    }
  }
  for (const { change, of, owner } of changes) {
    if (change === 'release') continue
    const owners = of.streams.map(({ stream }) => after.get(stream))
    if (owners.some((other) => other !== undefined && other !== owner))
      return reject('taken', { claim: of.claim })
    // A claim under an older secret moves to the current one.
    for (const [i, { stream }] of of.streams.entries()) after.set(stream, i === 0 ? owner : undefined)
  }
  const named = changes.flatMap(({ of, before }) =>
    of.streams.map(({ stream }) => {
      return [stream, eventsBetween(before.get(stream), after.get(stream), of.claim)] as const
    }),
  )
  return new Map(named)
}

function eventsBetween(before: string | undefined, after: string | undefined, claim: string): Event[] {
  if (before === after) return []
  return [
    ...(before === undefined ? [] : [{ type: `${claim}.Released`, data: {} }]),
    ...(after === undefined ? [] : [{ type: `${claim}.Claimed`, data: { owner: after } }]),
  ]
}

function checkOwner(owner: string, claim: string): void {
  if (typeof (owner as unknown) === 'string' && owner !== '') return
  throw new InvalidArgumentError('owner', {
    message: `the owner of ${claim} must be a string that is not empty`,
  })
}
