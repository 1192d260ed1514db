import { InvalidArgumentError } from '../base/errors.ts'
import type { Claim } from '../model/claim.ts'
import { type OnStream, reject, type Rejection } from '../model/command.ts'
import type { Event } from '../model/event.ts'

/** What `on` has for a claim. */
interface Claiming {
  claim(owner: string): OnStreams | Rejection<'taken', { claim: string }>
  release(owner?: string): OnStreams
}

/** Events on the streams of a claim: of the current secret, and of older ones. */
interface OnStreams extends OnStream<Event> {
  readonly others: readonly OnStream<Event>[]
}

/**
 * Claims and releases a value, on what the decision has done with it so far, so that a value that is released and claimed by
 * one decision ends as it should.
 *
 * @param owners the owner of each stream of a claim; kept up to date.
 */
export function claiming({ claim, streams }: Claim, owners: Map<string, string | undefined>): Claiming {
  const ownerOf = (i: number) => owners.get(streams[i]!.stream)
  const write = (i: number, owner: string | undefined): OnStream<Event>[] => {
    if (ownerOf(i) === owner) return []
    owners.set(streams[i]!.stream, owner)
    const event =
      owner === undefined
        ? { type: `${claim}.Released`, data: {} }
        : { type: `${claim}.Claimed`, data: { owner } }
    return [{ stream: streams[i]!.stream, events: [event] }]
  }
  const inOne = (others: readonly OnStream<Event>[]) => ({ stream: streams[0]!.stream, events: [], others })
  const held = () => streams.map((_, i) => i).filter((i) => ownerOf(i) !== undefined)
  return {
    claim: (owner) => {
      checkOwner(owner, claim)
      if (held().some((i) => ownerOf(i) !== owner)) return reject('taken', { claim })
      // A claim under an older secret moves to the current one.
      return inOne(streams.flatMap((_, i) => write(i, i === 0 ? owner : undefined)))
    },
    release: (owner) => {
      if (owner !== undefined) checkOwner(owner, claim)
      return inOne(
        held().flatMap((i) => (owner === undefined || ownerOf(i) === owner ? write(i, undefined) : [])),
      )
    },
  }
}

function checkOwner(owner: string, claim: string): void {
  if (typeof (owner as unknown) === 'string' && owner !== '') return
  throw new InvalidArgumentError('owner', {
    message: `the owner of ${claim} must be a string that is not empty`,
  })
}
