import { join } from 'node:path'
import { writeFileSync } from 'node:fs'
import { catalogue } from 'mneme/catalogue'
import { sqliteStore } from 'mneme/sqlite'
import { expect, test } from 'vitest'

import { testFolder } from '../../test/stores/sqlite/folder.ts'
import { fillShop, Order, Stock } from './inspector/shop.ts'
import { mneme } from './mneme.ts'

const shop = join(import.meta.dirname, 'inspector/shop.ts')

test('a command is tried on the store as it stands, and as it stood, and nothing is appended', async () => {
  const file = join(testFolder(), 'shop.db')
  const store = await sqliteStore(file)
  await fillShop(store, 1)
  const head = await store.logHead()
  const cancel = async (...more: string[]) => {
    const input = JSON.stringify({ order: '1001', reason: 'late' })
    return mneme(['try', `sqlite:${file}`, 'order.cancel', input, '-m', shop, ...more])
  }
  expect(await cancel()).toMatchObject({
    code: 4,
    out: expect.stringMatching(/^rejected [^]*"on-its-way"/) as string,
  })
  expect(await cancel('--at', 'Order-1001@1')).toMatchObject({
    code: 0,
    out: 'accepted; it would append\n  Order-1001 2  Order.Cancelled  {"reason":"late"}\n',
  })
  expect(JSON.parse((await cancel('--json')).out)).toMatchObject({ outcome: 'rejected' })
  const place = (...more: string[]) => mneme(['try', `sqlite:${file}`, ...more, '-m', shop])
  expect(await place('order.place', '{"order":7}')).toMatchObject({
    code: 1,
    out: expect.stringMatching(/^failed: .*expected string/) as string,
  })
  for (const [args, message] of [
    [[], 'name a command; there are: order.place, order.cancel'],
    [['order.buy'], "the model has no command 'order.buy'; there are: order.place, order.cancel"],
    [['order.place', 'x'], 'the input of the command has to be JSON'],
    [
      ['order.place', '{}', '--at', 'Order-1'],
      "--at takes a stream and a revision, like Account-a@3, not 'Order-1'",
    ],
  ] as const) {
    expect(await place(...args)).toMatchObject({ code: 2, err: expect.stringContaining(message) as string })
  }
  expect(await store.logHead()).toBe(head)
  await store.close()
})

test('a catalogue is written, and compared with an earlier one', async () => {
  const folder = testFolder()
  const module = (name: string, aggregates: readonly unknown[]) => {
    const file = join(folder, `${name}.mjs`)
    const text = JSON.stringify(catalogue({ aggregates: aggregates as never }))
    writeFileSync(file, `export const catalogue = ${text}`)
    return file
  }
  const [both, one] = [module('both', [Order, Stock]), module('one', [Order])]
  const { out, code } = await mneme(['catalog', '-m', both])
  expect(code).toBe(0)
  expect(JSON.parse(out)).toMatchObject({ aggregates: { Order: {}, Stock: {} } })
  writeFileSync(join(folder, 'before.json'), out)
  const before = ['--against', join(folder, 'before.json')]
  expect(await mneme(['catalog', '-m', both, ...before])).toMatchObject({ code: 0, out: '' })
  const fewer = await mneme(['catalog', '-m', one, ...before, '--json'])
  expect([fewer.code, JSON.parse(fewer.out.split('\n')[0]!)]).toMatchObject([
    4,
    { breaks: 'backward', kind: 'aggregate-removed', subject: 'Stock' },
  ])
  const document = await mneme(['catalog', '-m', both, '--asyncapi', 'Shop'])
  expect(JSON.parse(document.out)).toMatchObject({ asyncapi: '3.0.0', info: { title: 'Shop' } })
  expect(await mneme(['catalog', '-m', shop])).toMatchObject({
    code: 2,
    err: expect.stringContaining("has no export 'catalogue'") as string,
  })
  expect((await mneme(['catalog', '-m', both, '--against', both])).code).toBe(2)
})
