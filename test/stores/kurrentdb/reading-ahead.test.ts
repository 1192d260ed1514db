import { describe, expect, test } from 'vitest'

import { nextTurn, systemClock } from '../../../src/base/clock.ts'
import type { Calls, Part } from '../../../src/stores/kurrentdb/connection.ts'
import type { KurrentRecorded, ReadStreamOptions } from '../../../src/stores/kurrentdb/driver.ts'
import { Reader } from '../../../src/stores/kurrentdb/read.ts'
import { times } from './rig.ts'

/** A server with one stream, which notes what it is asked for and how far each call has come. */
class OneStream {
  readonly notes: string[] = []
  readonly #count: number
  readonly #isLarge: (revision: number) => boolean
  #failsAt: number | undefined

  constructor(count: number, isLarge: (revision: number) => boolean = () => false, failsAt?: number) {
    this.#count = count
    this.#isLarge = isLarge
    this.#failsAt = failsAt
  }

  get reader(): Reader {
    const readStream = (_: string, part: Part<ReadStreamOptions>) => this.#read(part)
    const calls = { deadline: 10_000, requiresLeader: true, clock: systemClock, readStream }
    return new Reader(calls as unknown as Calls)
  }

  async *#read({ direction, fromRevision, maxCount }: Part<ReadStreamOptions>) {
    const first =
      fromRevision === 'start' ? 0 : fromRevision === 'end' ? this.#count - 1 : Number(fromRevision)
    const step = direction === 'forwards' ? 1 : -1
    this.notes.push(`ask ${first}`)
    const revisions = times(Number(maxCount), (i) => first + i * step)
    const there = revisions.filter((revision) => revision >= 0 && revision < this.#count)
    for (let i = 0; i < there.length; i += 100) {
      await nextTurn()
      const batch = there.slice(i, i + 100)
      if (this.#failsAt !== undefined && batch.includes(this.#failsAt)) {
        this.#failsAt = undefined
        throw Object.assign(new Error(), { type: 'unavailable' })
      }
      yield batch.map((revision) => this.#record(revision))
    }
    this.notes.push(`end ${first}`)
  }

  #record(revision: number): KurrentRecorded {
    const position = BigInt(revision) * 100n
    return {
      ...{
        streamId: 's',
        id: `id-${revision}`,
        type: 'T',
        isJson: true,
        revision: BigInt(revision),
        created: 0,
      },
      ...{ data: this.#isLarge(revision) ? LARGE : SMALL, metadata: NONE },
      position: { commit: position, prepare: position },
    }
  }
}

const [NONE, SMALL, LARGE] = ['', '{}', JSON.stringify({ text: 'x'.repeat(16_000) })].map((text) =>
  new TextEncoder().encode(text),
) as [Uint8Array, Uint8Array, Uint8Array]

async function read(server: OneStream, direction: 'forwards' | 'backwards' = 'forwards', most = Infinity) {
  const revisions: number[] = []
  const request = { stream: 's', direction, from: undefined, to: undefined, limit: undefined } as const
  for await (const page of server.reader.stream(request)) {
    revisions.push(...page.map(({ revision }) => revision))
    if (revisions.length >= most) break
  }
  return revisions
}

const COUNT = 20_000

describe('a long stream on KurrentDB', () => {
  test('is asked for beyond a page before the whole page has come', async () => {
    const server = new OneStream(COUNT)
    expect(await read(server)).toEqual(times(COUNT, (i) => i))
    const { notes } = server
    const asks = notes.filter((note) => note.startsWith('ask')).map((note) => note.slice(4))
    const early = asks
      .slice(2)
      .filter((from, i) => notes.indexOf(`ask ${from}`) < notes.indexOf(`end ${asks[i + 1]!}`))
    expect(early.length).toBeGreaterThan(2)
    // Never more than two at once.
    let [now, most] = [0, 0]
    for (const note of notes) {
      now += note.startsWith('ask') ? 1 : -1
      most = Math.max(most, now)
    }
    expect(most).toBe(2)
  })

  test('is read whole, backwards', async () => {
    expect(await read(new OneStream(COUNT), 'backwards')).toEqual(times(COUNT, (i) => COUNT - 1 - i))
  })

  test('is read whole if a page ends sooner than was foreseen, because its events are large', async () => {
    const isLarge = (revision: number) => revision > 8_000 && revision < 10_500
    expect(await read(new OneStream(COUNT, isLarge))).toEqual(times(COUNT, (i) => i))
  })

  test.each([500, 5_000, 8_500, 16_000])('is read whole if a call breaks off at revision %i', async (at) => {
    expect(await read(new OneStream(COUNT, undefined, at))).toEqual(times(COUNT, (i) => i))
  })

  test('is not asked for any further once its reader has stopped', async () => {
    const server = new OneStream(COUNT)
    await read(server, 'forwards', 6_000)
    const asked = server.notes.filter((note) => note.startsWith('ask')).length
    for (let i = 0; i < 300; i++) await nextTurn()
    expect(server.notes.filter((note) => note.startsWith('ask'))).toHaveLength(asked)
  })
})
