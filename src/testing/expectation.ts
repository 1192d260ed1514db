import assert from 'node:assert'
import type { AssertPredicate } from 'node:assert'
import { isDeepStrictEqual } from 'node:util'
import type { Boundary, Command, OnStream } from '../model/command.ts'
import type { Event } from '../model/event.ts'
import { isStream } from '../model/stream.ts'
import { plainOf } from '../erasure/reveal.ts'
import { comparable } from './expected-state.ts'
import { failing } from './failure.ts'
import { type Happened, isAccepted, isRejected, nameOf, type Rejection, typesOf } from './happened.ts'

/** An event as it is compared; without its stream for a command over one stream. */
type Compared = { readonly stream?: string; readonly type: string; readonly data: unknown }

/** Compares the outcome of a command with the expected one. */
export class Expectation {
  readonly #command: Pick<Command<Boundary, unknown>, 'reads'>
  readonly #execute: () => Promise<Happened>
  #happened: Promise<Happened> | undefined

  constructor(command: Pick<Command<Boundary, unknown>, 'reads'>, execute: () => Promise<Happened>) {
    this.#command = command
    this.#execute = execute
  }

  async thenEvents(...items: (Event | OnStream<Event>)[]): Promise<void> {
    const fail = failing()
    const expected = items.flatMap(comparedOf)
    const wanted = `record ${typesOf(expected)}`
    const happened = await this.#outcome()
    if (!isAccepted(happened)) throw fail(wanted, happened, expected)
    const isSingle = isStream(this.#command.reads)
    const actual = happened.events.map(({ stream, type, data }): Compared => {
      return isSingle ? { type, data } : { stream, type, data }
    })
    if (isDeepStrictEqual(actual, expected)) return
    if (!agree('type', actual, expected)) throw fail(wanted, happened, expected, actual)
    const how = agree('stream', actual, expected) ? 'with other data' : 'on other streams'
    throw fail(`${wanted} ${how}`, undefined, expected, actual)
  }

  async thenNothing(): Promise<void> {
    const fail = failing()
    const happened = await this.#outcome()
    if (!isAccepted(happened) || happened.events.length > 0) throw fail('record nothing', happened, [])
  }

  async thenRejected(expected: Rejection | string): Promise<void> {
    const fail = failing()
    const isReason = typeof expected === 'string'
    const { reason, ...details } = isReason ? { reason: expected } : expected
    const wanted = `be rejected with ${reason}`
    const happened = await this.#outcome()
    if (!isRejected(happened)) throw fail(wanted, happened, { reason, ...details })
    const { reason: actual, ...others } = happened.rejection
    if (actual !== reason) throw fail(wanted, happened, { reason, ...details }, { reason: actual, ...others })
    if (!isReason && !isDeepStrictEqual(others, details)) {
      throw fail(`${wanted} and other details`, undefined, { reason, ...details }, { reason, ...others })
    }
  }

  async thenThrows(matcher?: AssertPredicate): Promise<void> {
    const fail = failing()
    const wanted = matcher === undefined ? 'throw' : `throw ${nameOf(matcher)}`
    const happened = await this.#outcome()
    if (!('threw' in happened)) throw fail(wanted, happened, matcher)
    const { threw } = happened
    try {
      if (matcher !== undefined) assert.throws(() => rethrow(threw), matcher)
    } catch (mismatch) {
      throw Object.assign(fail(wanted, happened, matcher), { cause: mismatch })
    }
  }

  async thenState(given: unknown): Promise<void> {
    const fail = failing()
    const expected = plainOf(given)
    const happened = await this.#outcome()
    if (!isAccepted(happened)) throw fail('be accepted', happened, expected)
    const actual = comparable(happened.state, expected)
    if (!isDeepStrictEqual(actual, expected)) throw fail('lead to another state', undefined, expected, actual)
  }

  #outcome(): Promise<Happened> {
    return (this.#happened ??= this.#execute())
  }
}

function comparedOf(item: Event | OnStream<Event>): Compared[] {
  if (!('events' in item)) return [{ type: item.type, data: plainOf(item.data) }]
  return item.events.map(({ type, data }) => ({ stream: item.stream, type, data: plainOf(data) }))
}

function agree(key: keyof Compared, ...[some, others]: [Compared[], Compared[]]): boolean {
  return isDeepStrictEqual(
    some.map((event) => event[key]),
    others.map((event) => event[key]),
  )
}

function rethrow(thrown: unknown): never {
  throw thrown
}
