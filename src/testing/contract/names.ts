import assert from 'node:assert/strict'
import { InvalidArgumentError } from '../../base/errors.ts'
import { drain, everything, failureOf, nothingWritten } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happened, numbersOf, upTo } from './sample-events.ts'

/** Names of streams that are all different, and that a careless store takes for one another. */
const distinct = [
  ...['a', 'A', 'a ', ' a', 'aa', 'a-', 'a-1', 'a-11', 'a-1-1', 'a%', 'a_', 'ab', '%', '_', '*', '?'],
  ...[
    "'",
    '"',
    "''",
    '`',
    '\\',
    '\\\\',
    "a'b",
    'a"b',
    "'; drop table events; --",
    '$'.padStart(2, 'a'),
    'a${b}',
    '{a}',
  ],
  ...['é', 'e\u0301', 'É', 'ß', 'ss', 'SS', 'K', 'k', '\u212A', 'ﬁ', 'fi', 'İ', 'i', 'ı', 'I', 'Σ', 'σ', 'ς'],
  ...[
    '😀',
    '😁',
    '𝒳-1',
    '\u{10FFFF}',
    '日本-1',
    '\u00A0x',
    'x\u200B',
    'x',
    'x\uFEFF',
    '\u2028'.padStart(2, 'x'),
  ],
  ...[
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'null',
    'undefined',
    'NULL',
    '0',
    '00',
    '1e3',
    'true',
  ],
  ...['a/b', 'a.b', 'a:b', '../a', 'a?b=c', 'a#b', 'a&b', 'a\u00ADb', 'a\\0b', '\\u0000', '%00', '\\x00'],
]

const blank = ['', ' ', '   ', '\u00A0', '\uFEFF']
const controls = [
  '\u0000',
  'a\u0000',
  'a\u0000b',
  'a\nb',
  'a\tb',
  'a\rb',
  '\u001F',
  'a\u007F',
  'a\u0085',
  'a\u009Fb',
  '\b',
]
const halves = ['\uD800', '\uDFFF', 'a\uD83D', '\uDE00a', '\uDE00\uD83D']
const noText = [undefined, null, 1, {}, [], true, Symbol('a'), ['a'], { stream: 'a' }]

/** W7: names are taken and refused alike by every store. */
export function names(prove: Prove): void {
  prove('W7: stream names that differ in any character are different streams', async (store, realm) => {
    assert.equal(new Set(distinct).size, distinct.length)
    await Promise.all(
      distinct.map((stream, i) =>
        store.append({ stream, events: [happened(i), happened(i)], expected: 'none' }),
      ),
    )
    const reopened = await realm.restart()
    for (const [i, stream] of distinct.entries()) {
      const events = await drain(reopened.read(stream))
      assert.deepEqual(numbersOf(events), [i, i], stream)
      assert.deepEqual(
        events.map((event) => event.stream),
        [stream, stream],
      )
      assert.equal(await reopened.head(stream), 1)
      assert.deepEqual(await drain(reopened.readAll({ streams: [stream] })), events, stream)
    }
    assert.equal((await everything(reopened)).length, distinct.length * 2)
  })

  prove(
    'W7: two streams of one append whose names differ only in case are refused',
    { needs: ['severalStreams'] },
    async (store) => {
      await nothingWritten(store, async () => {
        for (const [one, other] of [
          ['a', 'A'],
          ['Door-É', 'Door-é'],
          ['x-a1B', 'x-A1b'],
          ['K', '\u212A'],
        ] as const) {
          const write = { stream: one, events: [happened(0)] }
          for (const second of [
            { ...write, stream: other },
            { stream: other, expected: 'none' as const },
          ]) {
            await failureOf(InvalidArgumentError, () => store.append([write, second]))
          }
        }
      })
      await store.append([
        { stream: 'a', events: [happened(0)] },
        { stream: 'a ', events: [happened(0)] },
      ])
    },
  )

  prove('W7: a stream name that some store refuses is refused', async (store) => {
    const refused = [...blank, ...controls, ...halves, ...noText, '$a', '$', 'mneme:a', '-', '-a'] as string[]
    await nothingWritten(store, async () => {
      for (const stream of refused) {
        const calls = [
          () => store.append({ stream, events: [happened(0)] }),
          () => store.append([{ stream: 'a' }, { stream, expected: 'none' }]),
          () => drain(store.read(stream)),
          () => drain(store.readAll({ streams: [stream] })),
          () => drain(store.readAll({ categories: [stream] })),
          () => store.head(stream),
        ]
        for (const call of calls) await failureOf(InvalidArgumentError, call)
      }
    })
  })

  prove('W7: event types that differ in any character are different types', async (store) => {
    const types = [
      'A',
      'a',
      'a.',
      'Account.Opened',
      'Konto.Eröffnet',
      '口座.開設',
      'Ω',
      'ω',
      'a_b',
      'a-b',
      'a:b',
      'axb',
    ]
    types.push('constructor', '__proto__', 'toString', '1', '01', '²', '-', '_')
    await store.append({ stream: 's', events: types.map((type) => ({ type, data: { type } })) })
    const events = await drain(store.read('s'))
    assert.deepEqual(
      events.map(({ type }) => type),
      types,
    )
    for (const [i, type] of types.entries()) {
      assert.deepEqual(await drain(store.readAll({ types: [type] })), [events[i]], type)
    }
  })

  prove('W7: an event type that some store refuses is refused', async (store) => {
    const odd = [
      'a b',
      ' a',
      'a ',
      'a/b',
      "a'b",
      'a"b',
      'a%b',
      'a\\b',
      'a$b',
      '$a',
      'a,b',
      'a(b)',
      'a+b',
      'a#b',
      'a@b',
    ]
    const beyond = ['😀', '𝒳', 'e\u0301', 'a\u200B', '\u2028', '\uFEFFa']
    const refused = [...blank, ...controls, ...halves, ...odd, ...beyond, ...noText] as string[]
    await nothingWritten(store, async () => {
      for (const type of refused) {
        await failureOf(InvalidArgumentError, () =>
          store.append({ stream: 'a', events: [{ type, data: {} }] }),
        )
        await failureOf(InvalidArgumentError, () => drain(store.readAll({ types: [type] })))
      }
    })
  })

  prove('W7: a key that some store refuses is refused', { needs: ['keys'] }, async (store) => {
    const refused = [...blank, ...controls, ...halves, ...noText.slice(1)] as string[]
    await nothingWritten(store, async () => {
      for (const key of refused) {
        await failureOf(InvalidArgumentError, () =>
          store.append({ stream: 'a', events: [happened(0)] }, { key }),
        )
      }
    })
  })

  prove('W7: an event id that is not a lower-case UUID is refused', async (store) => {
    const id = crypto.randomUUID()
    const nil = '00000000-0000-0000-0000-000000000000'
    const refused = [
      '',
      'a',
      id.slice(1),
      `${id}0`,
      ` ${id}`,
      `${id}\n`,
      `{${id}}`,
      id.replaceAll('-', ''),
      nil,
    ]
    refused.push('ABCDEF00-0000-4000-8000-000000000000', 'g0000000-0000-4000-8000-000000000000')
    await nothingWritten(store, async () => {
      for (const wrong of [...refused, ...noText.slice(1)] as string[]) {
        const event = { ...happened(0), id: wrong }
        await failureOf(InvalidArgumentError, () => store.append({ stream: 'a', events: [event] }))
      }
      const twice = upTo(2).map((n) => ({ ...happened(n), id }))
      await failureOf(InvalidArgumentError, () => store.append({ stream: 'a', events: twice }))
    })
  })
}
