import assert from 'node:assert/strict'
import { defineAggregate } from '../../model/aggregate.ts'
import { InvalidDataError } from '../../base/errors.ts'
import { event } from '../../model/event-spec.ts'
import type { StandardSchemaV1 } from '../../base/standard-schema.ts'
import { drain, everything, failureOf, nothingWritten } from './outcomes.ts'
import type { Prove } from './prove.ts'

/** W6: what is read equals what was written, and what JSON cannot carry is refused before anything is written. */
export function plainData(prove: Prove): void {
  prove('W6: what is read equals what was written', async (store) => {
    const values = Object.entries(carried())
    await store.append({ stream: 'a', events: values.map(([, value]) => ({ type: 'T', data: { value } })) })
    const inStream = await drain(store.read('a'))
    const inAll = await everything(store)
    for (const [i, [name, value]] of values.entries()) {
      for (const event of [inStream[i], inAll[i]]) {
        assert.ok(event)
        assert.deepEqual(event.data, { value }, name)
        assert.equal(JSON.stringify(event.data), JSON.stringify({ value }), name)
      }
    }
  })

  prove('W6: undefined properties are left out, as JSON does', async (store) => {
    const data = { a: undefined, b: { c: undefined, d: 1 }, e: [{ f: undefined }] }
    const { events } = await store.append({ stream: 'a', events: [{ type: 'T', data }] })
    const read = await drain(store.read('a'))
    for (const event of [...events, ...read]) assert.deepEqual(event.data, { b: { d: 1 }, e: [{}] })
  })

  prove(
    'W6: a value that JSON cannot carry is refused with its path, and nothing is written',
    async (store) => {
      await nothingWritten(store, async () => {
        for (const [name, value] of Object.entries(refused())) {
          for (const [data, path] of placed(value)) {
            const append = () =>
              store.append({
                stream: 'a',
                events: [
                  { type: 'T', data: {} },
                  { type: 'T', data },
                ],
              })
            const error = await failureOf(InvalidDataError, append)
            const paths = error.issues.map((issue) => issue.path)
            assert.ok(
              paths.some((found) => found.startsWith(path)),
              `${name}: ${path}, not ${paths.join()}`,
            )
            assert.equal(error.subject, 'T')
          }
        }
      })
    },
  )

  prove('W6: the error names every refused value', async (store) => {
    const data = { at: new Date(0), 'in euro': [1, Number.NaN], ok: 1, deep: { er: { big: 1n } } }
    const { issues } = await failureOf(InvalidDataError, () =>
      store.append({ stream: 'a', events: [{ type: 'T', data }] }),
    )
    const paths = issues.map(({ path }) => path)
    assert.deepEqual(paths, ['data.at', 'data["in euro"][1]', 'data.deep.er.big'])
  })

  prove('W6: the data of an event must be an object', async (store) => {
    await nothingWritten(store, async () => {
      for (const data of [undefined, null, 1, 'text', true, [], [{}]]) {
        const { issues } = await failureOf(InvalidDataError, () =>
          store.append({ stream: 'a', events: [{ type: 'T', data }] }),
        )
        assert.equal(issues[0]?.path, 'data')
      }
    })
  })

  prove('W6: data may be nested 500 levels deep, and no deeper', async (store) => {
    await store.append({ stream: 'a', events: [{ type: 'T', data: nested(500) }] })
    assert.deepEqual((await drain(store.read('a')))[0]?.data, nested(500))
    await nothingWritten(store, () =>
      failureOf(InvalidDataError, () =>
        store.append({ stream: 'a', events: [{ type: 'T', data: nested(501) }] }),
      ),
    )
  })

  prove('W6: an object without a prototype is accepted as data', async (store) => {
    const data = Object.assign(Object.create(null) as object, { n: 1 })
    await store.append({ stream: 'a', events: [{ type: 'T', data }] })
    assert.deepEqual((await drain(store.read('a')))[0]?.data, { n: 1 })
  })

  prove('W6: an event is stored as its schema returned it, also with a given id', async (store) => {
    const doubling: StandardSchemaV1<{ n: number }, { n: number }> = {
      '~standard': {
        version: 1,
        vendor: 'mneme',
        validate: (value) => ({ value: { n: (value as { n: number }).n * 2 } }),
      },
    }
    const Doubled = defineAggregate({
      name: 'Doubled',
      events: { Made: event(doubling) },
      initial: () => ({}),
      apply: { Made: (state) => state },
    })
    const made = Doubled.events.Made({ n: 1 })
    await store.append({ stream: Doubled('a'), events: [made, { ...made, id: crypto.randomUUID() }] })
    const events = await drain(store.read(Doubled('a')))
    assert.deepEqual(
      events.map(({ data }) => data),
      [{ n: 2 }, { n: 2 }],
    )
  })

  prove('W6: an object used in two places of the data is written in both', async (store) => {
    const shared = { n: 1 }
    await store.append({
      stream: 'a',
      events: [{ type: 'T', data: { left: shared, right: [shared, shared] } }],
    })
    const [first] = await drain(store.read('a'))
    assert.deepEqual(first?.data, { left: { n: 1 }, right: [{ n: 1 }, { n: 1 }] })
  })
}

/** What JSON carries, by a name. */
function carried(): Record<string, unknown> {
  return {
    'an empty text': '',
    'quotes and backslashes': `'"\`\\%_?$1;--`,
    'control characters, NUL among them': '\u0000\u0001\b\t\n\f\r\u001F\u007F\u0085\u2028\u2029\uFEFF',
    'half of a surrogate pair': ['\uD800', 'x\uDFFF', '\uDFFF\uD800'],
    'characters beyond the Basic Multilingual Plane': '😀𝒳\u{10FFFF}',
    'composed and decomposed': ['é', 'e\u0301'],
    'text that looks like something else': ['null', '1', '{}', '\\u0000', '2020-01-01T00:00:00.000Z', 'NaN'],
    numbers: [0, 1, -1, 0.1, 1e21, 1e-7, 5e-324, Number.MAX_VALUE, -Number.MAX_VALUE, 1 / 3],
    'large whole numbers': [2 ** 53, 2 ** 53 - 1, -(2 ** 53), 2 ** 53 + 2, 2 ** 64, 2 ** 63],
    booleans: [true, false, null],
    'empty containers': [{}, [], [[]], [{}], { a: {} }],
    'an empty key': { '': { '': 1 } },
    'keys in another order': { b: 1, a: 2, Ä: 3, '10': 4, '9': 5 },
    'unicode keys': { ключ: 1, '😀': 2, '\uD800': 3, '\u0000': 4, 'a.b': 5, $x: 6, "'": 7, '"': 8 },
    'keys that objects have': { constructor: 1, toString: 2, hasOwnProperty: 3, prototype: 4, length: 5 },
    'a long text': 'x'.repeat(100_000),
    'a long array': Array.from({ length: 2000 }, (_, i) => i),
  }
}

/** What JSON cannot carry, by a name. */
function refused(): Record<string, unknown> {
  class Point {
    x = 1
  }
  class Money {
    toJSON() {
      return '1 EUR'
    }
  }
  const cycle: Record<string, unknown> = {}
  cycle.self = { around: [cycle] }
  const list: unknown[] = []
  list.push(list)
  const sparse = [1, 2, 3]
  Reflect.deleteProperty(sparse, 1)
  return {
    'a bigint': 1n,
    NaN: Number.NaN,
    Infinity: Number.POSITIVE_INFINITY,
    '-Infinity': Number.NEGATIVE_INFINITY,
    '-0': -0,
    'a Date': new Date(0),
    'an invalid Date': new Date(Number.NaN),
    'a Map': new Map([['a', 1]]),
    'a Set': new Set([1]),
    'a RegExp': /x/,
    'an Error': new Error('x'),
    'a Promise': Promise.resolve(1),
    'a Uint8Array': new Uint8Array(2),
    'an ArrayBuffer': new ArrayBuffer(2),
    'a boxed number': Object(1) as unknown,
    'a boxed text': Object('x') as unknown,
    'a class instance': new Point(),
    'an instance with toJSON': new Money(),
    'an object with toJSON': { toJSON: () => 1 },
    'an object of an object': Object.create({ inherited: 1 }) as unknown,
    'a function': () => 1,
    'a class': Point,
    'a symbol': Symbol('s'),
    'a symbol as key': { [Symbol('s')]: 1 },
    'a key named __proto__': JSON.parse('{"__proto__":{"polluted":true}}') as unknown,
    'a cycle': cycle,
    'a cycle of arrays': list,
    'undefined in an array': [1, undefined],
    'a sparse array': sparse,
    'an array of holes': new Array(3),
  }
}

/** A value at the top of data, nested and in an array, with the path of each. */
function placed(value: unknown): [data: object, path: string][] {
  return [
    [{ ok: 1, value }, 'data.value'],
    [{ outer: { 'in ner': { value } } }, 'data.outer["in ner"].value'],
    [{ list: [0, [value]] }, 'data.list[1][0]'],
  ]
}

/** An object of so many levels. */
function nested(levels: number): object {
  let data: object = {}
  for (let i = 1; i < levels; i++) data = i % 2 === 0 ? { inner: data } : { list: data }
  return data
}
