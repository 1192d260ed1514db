import assert from 'node:assert/strict'
import { LimitError } from '../../base/errors.ts'
import { limits as most, type Limits } from '../../base/limits.ts'
import type { EventStore, EventToAppend, StreamWrite } from '../../store/event-store.ts'
import { drain, failureOf } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happened, happenings, upTo } from './sample-events.ts'

/** W7: every limit from both sides. Exactly at it passes; one more is an error, and nothing is written. */
export function limits(prove: Prove): void {
  for (const [kind, letter, bytes] of [
    ['ASCII', 'x', 1],
    ['two bytes', 'é', 2],
    ['four bytes', '😀', 4],
  ] as const) {
    prove(
      `W7: a stream name of ${most.streamNameBytes} bytes passes, one more does not (${kind})`,
      async (store) => {
        const name = letter.repeat(most.streamNameBytes / bytes)
        const { events } = await store.append({ stream: name, events: [happened(0)], expected: 'none' })
        assert.deepEqual(await drain(store.read(name)), events)
        assert.deepEqual(await drain(store.readAll({ streams: [name] })), events)
        assert.equal(await store.head(name), 0)
        await exceeds(store, 'streamNameBytes', { stream: `${name}x`, events: [happened(0)] })
      },
    )
  }

  prove(`W7: an event type of ${most.eventTypeBytes} bytes passes, one more does not`, async (store) => {
    for (const type of ['x'.repeat(most.eventTypeBytes), 'é'.repeat(most.eventTypeBytes / 2)]) {
      const { events } = await store.append({ stream: 'a', events: [{ type, data: {} }] })
      assert.deepEqual(await drain(store.readAll({ types: [type] })), events)
      await exceeds(store, 'eventTypeBytes', { stream: 'a', events: [{ type: `${type}x`, data: {} }] })
    }
  })

  prove(
    `W7: a key of ${most.keyBytes} bytes passes, one more does not`,
    { needs: ['keys'] },
    async (store) => {
      for (const letter of ['x', 'é']) {
        const key = letter.repeat(most.keyBytes / Buffer.byteLength(letter))
        await store.append({ stream: 'a', events: [happened(0)] }, { key })
        assert.equal((await store.append({ stream: 'a', events: [happened(0)] }, { key })).repeated, true)
        await exceeds(store, 'keyBytes', { stream: 'a', events: [happened(0)] }, `${key}x`)
      }
    },
  )

  prove('W7: an event of the largest size passes, one byte more does not', async (store) => {
    const { events } = await store.append({ stream: 'a', events: [sized(most.eventBytes)] })
    assert.deepEqual(await drain(store.read('a')), events)
    await exceeds(store, 'eventBytes', { stream: 'a', events: [sized(most.eventBytes + 1)] })
  })

  prove(
    'W7: the size of an event is counted in UTF-8 bytes, of data and metadata together',
    async (store) => {
      const half = most.eventBytes / 2
      const metadata = { actor: '水'.repeat(Math.floor((half - 12) / 3)) }
      const rest = most.eventBytes - Buffer.byteLength(JSON.stringify(metadata))
      const fitting = sized(rest, '水', '')
      await store.append({ stream: 'a', events: [fitting] }, { metadata })
      const [read] = await drain(store.read('a'))
      assert.ok(read)
      assert.deepEqual(read.data, fitting.data)
      assert.deepEqual(read.metadata, metadata)
      await exceeds(
        store,
        'eventBytes',
        { stream: 'a', events: [sized(rest + 1, '水', '')] },
        undefined,
        metadata,
      )
    },
  )

  prove('W7: characters that JSON escapes are counted as they are stored', async (store) => {
    const escaped = { type: 'T', data: { text: '\u0001'.repeat(Math.ceil(most.eventBytes / 6)) } }
    await exceeds(store, 'eventBytes', { stream: 'a', events: [escaped] })
  })

  prove('W7: an append of the largest size passes, one byte more does not', async (store) => {
    const part = most.appendBytes / 5
    const events = upTo(5).map(() => sized(part))
    await store.append({ stream: 'a', events })
    assert.equal(await store.head('a'), 4)
    await exceeds(store, 'appendBytes', { stream: 'a', events: [...events.slice(1), sized(part + 1)] })
  })

  prove(`W7: ${most.appendEvents} events in one append pass, one more does not`, async (store) => {
    const events = happenings(most.appendEvents)
    await store.append({ stream: 'a', events })
    assert.equal(await store.head('a'), most.appendEvents - 1)
    await exceeds(store, 'appendEvents', { stream: 'a', events: [...events, happened(0)] })
  })

  prove(
    `W7: ${most.appendStreams} streams in one append pass, one more does not`,
    { needs: ['severalStreams'] },
    async (store) => {
      const written = upTo(most.appendStreams).map((i) => ({
        stream: `w-${i}`,
        events: [happened(i)],
        expected: 'none' as const,
      }))
      const result = await store.append(written)
      assert.equal(result.revisions.size, most.appendStreams)
      const read = upTo(most.appendStreams - 1).map((i) => ({ stream: `w-${i}`, expected: 0 }))
      const write = { stream: 'last', events: [happened(0)] }
      await store.append([...read, write])
      await exceeds(store, 'appendStreams', [...read, { stream: 'one-more', expected: 'none' }, write])
    },
  )
}

/** An append that one limit forbids, and that writes nothing. */
async function exceeds(
  store: EventStore,
  limit: keyof Limits,
  writes: StreamWrite | readonly StreamWrite[],
  key?: string,
  metadata: Record<string, string> = {},
): Promise<void> {
  const head = await store.logHead()
  const options = key === undefined ? { metadata } : { metadata, key }
  const error = await failureOf(LimitError, () => store.append(writes, options))
  assert.deepEqual([error.limit, error.maximum], [limit, most[limit]])
  assert.ok(error.actual > error.maximum)
  assert.equal(await store.logHead(), head)
}

/** An event of exactly so many bytes, the metadata `{}` included if it has none. */
function sized(bytes: number, letter = 'x', metadata = '{}'): EventToAppend {
  const rest = bytes - Buffer.byteLength(JSON.stringify({ text: '' }) + metadata)
  const width = Buffer.byteLength(letter)
  const text = letter.repeat(Math.floor(rest / width)) + 'x'.repeat(rest % width)
  return { type: 'T', data: { text } }
}
