import { describe, expect, test } from 'vitest'
import { fingerprint } from '../../src/model/fingerprint.ts'
import { BankAccount } from '../support/bank.ts'

const equal = (a: unknown, b: unknown) => expect(fingerprint(a)).toBe(fingerprint(b))
const different = (a: unknown, b: unknown) => expect(fingerprint(a)).not.toBe(fingerprint(b))

class Deposit {
  readonly account: string
  readonly #secret: number
  constructor(account: string, secret = 0) {
    this.account = account
    this.#secret = secret
  }
  get doubled() {
    return this.#secret * 2
  }
  handle = () => []
}

describe('a fingerprint', () => {
  test('is short, and tells nothing of its input', () => {
    expect(fingerprint({ secret: 'marker'.repeat(1_000) })).toMatch(/^[\w-]{43}$/)
  })

  test.each([
    ['keys in another order', { a: 1, b: { c: 2, d: 3 } }, { b: { d: 3, c: 2 }, a: 1 }],
    [
      'keys of Maps in another order',
      new Map([
        ['a', 1],
        ['b', 2],
      ]),
      new Map([
        ['b', 2],
        ['a', 1],
      ]),
    ],
    ['members of Sets in another order', new Set(['a', { b: 1 }]), new Set([{ b: 1 }, 'a'])],
    ['undefined properties', { a: 1, b: undefined }, { a: 1 }],
    ['0 and -0', { a: 0 }, { a: -0 }],
    ['functions among the properties', { a: 1, f: () => 1 }, { a: 1 }],
    ['equal Dates', new Date(5), new Date(5)],
    ['equal objects of a class', new Deposit('a'), new Deposit('a')],
    ['objects with and without a prototype', Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    ['equal URLs', new URL('a:b'), new URL('a:b')],
    ['equal bytes', new Uint8Array([1, 2]), new Uint8Array([1, 2])],
    ['streams of one name', BankAccount('a'), { ...BankAccount('a') }],
  ])('is the same for %s', (_, a, b) => {
    equal(a, b)
    equal({ within: [a] }, { within: [b] })
  })

  test.each([
    ['numbers', 1, 2],
    ['a number and its text', 1, '1'],
    ['a number and a bigint', 1, 1n],
    ['bigints', 1n, 2n],
    ['true and its text', true, 'true'],
    ['null and undefined', null, undefined],
    ['null and its text', null, 'null'],
    ['undefined and its text', undefined, 'undefined'],
    ['NaN and null', NaN, null],
    ['an order of elements', [1, 2], [2, 1]],
    ['nesting', [[1], 2], [1, [2]]],
    ['an element and its array', [1], [[1]]],
    ['no elements and one', [], [undefined]],
    ['a property and another of its value', { a: 1 }, { b: 1 }],
    ['a text that looks like two', { a: 'x","b":"y' }, { a: 'x', b: 'y' }],
    ['an array and an object of its elements', [1], { 0: 1 }],
    ['a Map and its entries', new Map([['a', 1]]), [['a', 1]]],
    ['a Map and an object', new Map([['a', 1]]), { a: 1 }],
    ['a Set and its members', new Set([1]), [1]],
    ['Maps of other values', new Map([['a', 1]]), new Map([['a', 2]])],
    ['Dates', new Date(1), new Date(2)],
    ['a Date and its text', new Date(1), new Date(1).toJSON()],
    ['a valid and an invalid Date', new Date(1), new Date(NaN)],
    ['objects of a class', new Deposit('a'), new Deposit('b')],
    ['streams', BankAccount('a'), BankAccount('b')],
    ['bytes', new Uint8Array([1]), new Uint8Array([2])],
    ['URLs', new URL('a:b'), new URL('a:c')],
    ['empty objects and null', {}, null],
    ['lone surrogates', '\uD800', '\uD801'],
  ])('differs for different %s', (_, a, b) => {
    different(a, b)
    different({ within: [a] }, { within: [b] })
  })

  test('ends with a cycle, and with shared parts', () => {
    const cyclic: Record<string, unknown> = { a: 1 }
    cyclic.self = cyclic
    expect(fingerprint(cyclic)).toBeTypeOf('string')
    let shared: unknown = { n: 1 }
    for (let i = 0; i < 12; i++) shared = [shared, shared]
    expect(fingerprint(shared)).toBeTypeOf('string')
  })
})
