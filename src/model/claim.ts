import { checkOptions } from '../base/arguments.ts'
import { InvalidArgumentError, InvalidDataError } from '../base/errors.ts'
import { keyedHash } from '../base/hash.ts'
import { defineAggregate } from './aggregate.ts'
import { event } from './event-spec.ts'
import type { EventTypes } from './event-type.ts'
import type { Stream } from './stream.ts'

/** A value that can have one owner at most, like `Email('ada@example.org')`: what a command reads. Made by {@link defineClaim}. */
export interface Claim<Name extends string = string> {
  /** The claim's name. */
  readonly claim: Name
  /** The streams in which it can be claimed: one for each secret, the current one first. */
  readonly streams: readonly Stream<ClaimState>[]
}

/** Who has claimed a value. */
export interface ClaimState {
  /** The owner that was given to `claim`; `undefined` if nobody has claimed it. */
  readonly owner: string | undefined
}

/** A kind of value that is unique across the store. Called with a value, it names what a command reads. */
export interface ClaimType<Name extends string, Raw> {
  /** @throws InvalidDataError if the text of the value is empty. */
  (raw: Raw): Claim<Name>
  /** The category of its streams, whose names are `<category>-<keyed hash>`. */
  readonly category: Name
  /** The stream of a value under the current secret: for tests, and to read its history. */
  readonly stream: (raw: Raw) => Stream<ClaimState, `${Name}.${string}`>
  /** The constructors of its events. */
  readonly events: EventTypes<Name, ClaimEvents>
}

/** The events of a claim, by their short names. */
export interface ClaimEvents {
  readonly Claimed: { owner: string }
  readonly Released: { [key: string]: never }
}

/** What `defineClaim` takes. */
export interface ClaimDefinition<Name extends string, Raw> {
  /** The category of its streams, and the prefix of its event types. Letters, digits, `_` and `.`. */
  readonly name: Name
  /**
   * The value as text, normalised: what has the same text is the same value, for example
   * `(email: string) => email.trim().toLowerCase()`. If the text is empty, the value is refused with an `InvalidDataError`.
   */
  readonly of: (raw: Raw) => string
  /**
   * The key of the hash by which a value's stream is named: at least 16 bytes, random, and kept outside the store. A list
   * rotates it: the first is used for new claims, claims under the others still hold and are rewritten as they are used.
   */
  readonly secret: ClaimSecret | readonly ClaimSecret[]
}

/** A key of a keyed hash: text, or bytes. */
export type ClaimSecret = string | Uint8Array

/**
 * Defines values that are unique across the store: e-mail addresses, user names, seats. A command reads one beside other
 * streams, and claims or releases it in the same append, so of several that claim it at once exactly one succeeds.
 *
 * The value stands neither in the name of a stream nor in an event: the stream is named by a keyed hash (HMAC-SHA-256).
 *
 * @throws InvalidArgumentError if the name or a secret is not usable.
 * @example
 * ```ts
 * const Email = defineClaim({
 *   name: 'Email',
 *   of: (address: string) => address.trim().toLowerCase(),
 *   secret: 'at least 16 random bytes, kept outside',
 * })
 * const register = defineCommand({
 *   reads: (input: { door: string; by: string }) => ({ door: Door(input.door), email: Email(input.by) }),
 *   handle: (_states, { door, by }, { on }) => [on.door(Door.events.Closed({ by })), on.email.claim(door)],
 * })
 * ```
 */
export function defineClaim<const Name extends string, Raw = string>(
  definition: ClaimDefinition<Name, Raw>,
): ClaimType<Name, Raw> {
  checkOptions(definition, 'definition', ['name', 'of', 'secret'])
  const { name, of } = definition
  if (typeof (of as unknown) !== 'function') {
    throw new InvalidArgumentError('of', 'a function that returns the value as text')
  }
  const secrets = checkSecrets(definition.secret)
  const Owned = defineAggregate({
    name,
    events: { Claimed: event<{ owner: string }>(), Released: event() },
    initial: (): ClaimState => ({ owner: undefined }),
    apply: { Claimed: (_state, { owner }) => ({ owner }), Released: () => ({ owner: undefined }) },
  })
  const streamsOf = (raw: Raw) => {
    const text: unknown = of(raw)
    // The value itself is personal, so no error shows it.
    if (typeof text !== 'string') {
      throw new InvalidArgumentError(`the value of ${name}`, {
        message: `of(value) of ${name} must return a text`,
      })
    }
    if (text === '') {
      const message = `the value of claim ${name} must not be empty`
      throw new InvalidDataError(`claim ${name}`, [{ path: 'value', message }])
    }
    return secrets.map((secret) => Owned(keyedHash(secret, JSON.stringify([name, text.normalize('NFC')]))))
  }
  const make = (raw: Raw): Claim<Name> =>
    Object.freeze({ claim: name, streams: Object.freeze(streamsOf(raw)) })
  return Object.assign(make, {
    category: name,
    stream: (raw: Raw) => streamsOf(raw)[0]!,
    events: Owned.events,
  })
}

/** Whether an entry of a boundary is a claim. */
export function isClaim(entry: object): entry is Claim {
  const { claim, streams } = entry as Partial<Claim>
  return typeof claim === 'string' && Array.isArray(streams)
}

/** The state of a claim: that of the stream in which it is claimed. */
export function ownerIn(states: readonly ClaimState[]): ClaimState {
  return states.find(({ owner }) => owner !== undefined) ?? states[0]!
}

function checkSecrets(given: ClaimDefinition<string, never>['secret']): readonly ClaimSecret[] {
  const secrets = Array.isArray(given) ? (given as readonly unknown[]) : [given]
  if (secrets.length === 0)
    throw new InvalidArgumentError('secret', 'a text, bytes, or a list of these that is not empty')
  secrets.forEach((secret, i) => {
    const argument = Array.isArray(given) ? `secret[${String(i)}]` : 'secret'
    const isUsable = typeof secret === 'string' || secret instanceof Uint8Array
    if (
      !isUsable ||
      (typeof secret === 'string' ? encoder.encode(secret) : secret).length < MIN_SECRET_BYTES
    ) {
      throw new InvalidArgumentError(
        argument,
        `a text or bytes, at least ${String(MIN_SECRET_BYTES)} bytes long`,
      )
    }
    if (typeof secret === 'string' && secrets.indexOf(secret) < i) {
      throw new InvalidArgumentError(argument, {
        message: `${argument} is there twice; name each secret once`,
      })
    }
  })
  return secrets.map((secret) => (secret instanceof Uint8Array ? secret.slice() : (secret as string)))
}

const MIN_SECRET_BYTES = 16
const encoder = new TextEncoder()
