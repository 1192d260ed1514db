import { describe, expect, test, vi } from 'vitest'
import * as z from 'zod'

/** A copy of the package of its own, as a second installation in `node_modules` is. */
async function copyOfMneme() {
  vi.resetModules()
  return { ...(await import('mneme')), ...(await import('mneme/memory')) }
}
type Copy = Awaited<ReturnType<typeof copyOfMneme>>

const one = await copyOfMneme()
const two = await copyOfMneme()

function bank({ defineAggregate, defineCommand, event, reject }: Copy) {
  const Account = defineAggregate({
    name: 'Account',
    events: {
      Opened: event<{ owner: string }>().formerly('Account.Began'),
      Priced: z.object({ price: z.string().transform(Number) }),
    },
    initial: () => ({ open: false }),
    apply: { Opened: () => ({ open: true }), Priced: (state) => state },
  })
  const open = defineCommand({
    reads: () => Account('a'),
    handle: ({ open }) => (open ? reject('open-already') : Account.events.Opened({ owner: 'Ann' })),
  })
  const price = defineCommand({
    reads: () => Account('a'),
    handle: () => Account.events.Priced({ price: '5' }),
  })
  return { Account, open, price }
}

const thrownBy = (call: () => unknown) =>
  Promise.resolve()
    .then(call)
    .then(
      () => undefined,
      (error: unknown) => error,
    )
const ofTwoCopies = {
  code: 'INVALID_ARGUMENT',
  message: expect.stringContaining('another copy of Mneme') as string,
}

describe('with two copies of the package in one process', () => {
  test('the errors of each are recognised by the other', async () => {
    const closed = one.memoryStore()
    await closed.close()
    const argument = await thrownBy(() => closed.append({ stream: '' }))
    for (const error of [await thrownBy(() => closed.logHead()), argument]) {
      expect([one.isMnemeError(error), two.isMnemeError(error)]).toEqual([true, true])
      expect(error).not.toBeInstanceOf(two.MnemeError)
    }
    for (const other of [new Error('x'), { code: 'CONFLICT' }, null, 'CONFLICT'])
      expect(two.isMnemeError(other)).toBe(false)
  })

  test('a command recognises its rejection, whichever copy executed it', async () => {
    const { open } = bank(one)
    const store = two.memoryStore()
    await two.execute(store, open())
    const error = await thrownBy(() => two.execute(store, open()))
    expect(error).not.toBeInstanceOf(one.RejectedError)
    expect(open.rejected(error) && error.rejection.reason).toBe('open-already')
    expect(bank(two).open.rejected(error)).toBe(false)
  })

  test('a store of the other is refused with an error that says so', async () => {
    const { open } = bank(one)
    expect(await thrownBy(() => one.execute(two.memoryStore(), open()))).toMatchObject(ofTwoCopies)
    expect(await thrownBy(() => one.execute({} as never, open()))).toMatchObject({
      message: expect.not.stringContaining('copy') as string,
    })
  })

  test('events of the other are refused rather than stripped of their history', () => {
    const base = { initial: () => ({}), apply: { Opened: (state: object) => state } }
    const spec = one.event<{ owner: string }>().formerly('Account.Began')
    const define = (Opened: typeof spec) =>
      two.defineAggregate({ name: 'Other', events: { Opened }, ...base })
    expect(() => define(spec)).toThrow(expect.objectContaining(ofTwoCopies))
    const { Opened } = bank(one).Account.events
    expect(() => two.defineEvents('Other', { Opened })).toThrow(expect.objectContaining(ofTwoCopies))
    expect(() => two.memoryStore().readAll({ types: [Opened] })).toThrow(expect.objectContaining(ofTwoCopies))
  })

  test('an event that a schema of the other made is not sent through the schema again', async () => {
    const store = two.memoryStore()
    expect(await thrownBy(() => two.execute(store, bank(one).price()))).toMatchObject(ofTwoCopies)
    expect(await store.logHead()).toBeUndefined()
    const { events } = await two.execute(store, bank(two).price())
    expect(events[0]?.data).toEqual({ price: 5 })
  })
})
