import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import {
  ConflictError,
  createStore,
  defineAggregate,
  defineCommand,
  event,
  execute,
  FoldError,
  InvalidArgumentError,
  InvalidDataError,
  isMnemeError,
  KeyReusedError,
  LimitError,
  limits,
  MnemeError,
  OpenError,
  OutcomeUnknownError,
  OverloadedError,
  reject,
  RejectedError,
  StoreBusyError,
  StoreClosedError,
  StoreFailedError,
  StoreFullError,
  StreamTruncatedError,
  UnknownEventError,
  UnsupportedError,
} from 'mneme'
import { memoryAdapter } from '../../src/stores/memory/adapter.ts'
import { BankAccount, Deposited, open, Opened } from '../support/bank.ts'
import { observedStore } from '../support/observed-store.ts'

const samples: [string, boolean, Error][] = [
  ['CANNOT_OPEN', false, new OpenError('failed', 'm')],
  ['CONFLICT', true, new ConflictError({ stream: 's', expected: 1, actual: 2 })],
  ['FOLD_FAILED', false, new FoldError({ stream: 's', type: 't', revision: 0 }, new Error('cause'))],
  ['INVALID_ARGUMENT', false, new InvalidArgumentError('a', 'b')],
  ['INVALID_DATA', false, new InvalidDataError('s', [{ path: 'data', message: 'm' }])],
  ['KEY_REUSED', false, new KeyReusedError('k')],
  ['LIMIT_EXCEEDED', false, new LimitError('w', 'eventBytes', 1, 2)],
  ['OUTCOME_UNKNOWN', false, new OutcomeUnknownError('m')],
  ['OVERLOADED', true, new OverloadedError(5)],
  ['REJECTED', false, new RejectedError({ reason: 'r' })],
  ['STORE_BUSY', true, new StoreBusyError(5)],
  ['STORE_CLOSED', false, new StoreClosedError()],
  ['STORE_FAILED', true, new StoreFailedError('m')],
  ['STORE_FULL', true, new StoreFullError('m')],
  ['STREAM_TRUNCATED', false, new StreamTruncatedError('s', 3)],
  ['UNKNOWN_EVENT', false, new UnknownEventError({ stream: 's', type: 't', version: 1 }, 'k')],
  ['UNSUPPORTED', false, new UnsupportedError('m')],
]

describe('every error', () => {
  test.each(samples)(
    '%s has its code, its name and whether a retry can help (%s)',
    (code, isRetryable, error) => {
      expect(error).toMatchObject({ code, isRetryable })
      expect(error.name).toBe(error.constructor.name)
      expect(error.message).not.toBe('')
      expect(error).toBeInstanceOf(Error)
      expect(isMnemeError(error)).toBe(true)
      expect(error instanceof MnemeError).toBe(code !== 'INVALID_ARGUMENT')
    },
  )

  test('of a wrong argument is a TypeError', () => {
    expect(new InvalidArgumentError('limit', 'a whole number from 1')).toBeInstanceOf(TypeError)
    expect(new InvalidArgumentError('limit', 'a whole number from 1').message).toBe(
      'limit must be a whole number from 1',
    )
  })

  test('keeps its cause', () => {
    const cause = new Error('cause')
    expect(new StoreFailedError('m', { cause }).cause).toBe(cause)
    expect(new FoldError({ stream: 's', type: 't', revision: 0 }, cause).cause).toBe(cause)
  })

  test('of others is none of ours', () => {
    for (const other of [
      new Error('x'),
      new TypeError('x'),
      { code: 'CONFLICT' },
      null,
      undefined,
      'CONFLICT',
    ]) {
      expect(isMnemeError(other)).toBe(false)
    }
  })

  test('shows long and hostile names cut and escaped', () => {
    const stream = `line\nbreak "quote" ${'x'.repeat(1_000)}`
    const { message } = new ConflictError({ stream, expected: 'none', actual: 3 })
    expect(message.length).toBeLessThan(250)
    expect(message).toContain('line\\nbreak \\"quote\\"')
    expect(message).toContain("was expected at 'none', but is at revision 3")
  })
})

describe('no message tells the data', () => {
  const SECRET = 'MARKER-4711'
  const secret = { secret: SECRET, list: [SECRET] }
  const Vault = defineAggregate({
    name: 'Vault',
    events: {
      Put: event<{ secret: string; list?: string[] }>(),
      Checked: z.object({
        pin: z.string().max(4),
        kind: z.enum(['a', 'b']),
        at: z.iso.datetime(),
        n: z.number(),
      }),
      Old: event<{ secret: string }>().next<{ secret: string }>(() => {
        throw new Error('upcast')
      }),
    },
    initial: () => ({ puts: 0 }),
    apply: {
      Put: ({ puts }) => {
        if (puts > 0) throw new Error('apply')
        return { puts: puts + 1 }
      },
      Checked: (state) => state,
      Old: (state) => state,
    },
  })
  const { Put, Checked } = Vault.events
  const vault = Vault('v')
  const untyped = execute as (...args: unknown[]) => Promise<unknown>
  const on = (context: { on: Record<string, (...args: unknown[]) => unknown> }) => context.on
  const decide = (handle: (...args: never[]) => unknown, reads: unknown = vault) =>
    untyped(observedStore(), { reads, handle })

  const failures: [string, string, () => unknown][] = [
    [
      'data that is not JSON',
      'INVALID_DATA',
      () => Put({ ...secret, extra: [new Date(), SECRET, 1n] } as never),
    ],
    [
      'an instance that tells itself',
      'INVALID_DATA',
      () =>
        Put({
          secret: new (class {
            toString = () => SECRET
          })(),
        } as never),
    ],
    ['data that is no object', 'INVALID_DATA', () => Put(SECRET as never)],
    [
      'data that a schema refuses',
      'INVALID_DATA',
      () => Checked({ pin: SECRET, kind: SECRET as never, at: SECRET, n: SECRET as never }),
    ],
    ['a wrong type of event', 'UNKNOWN_EVENT', () => decide(() => ({ type: 'Vault.Unknown', data: secret }))],
    [
      'a wrong version',
      'UNKNOWN_EVENT',
      () => decide(() => ({ type: 'Vault.Put', version: 9, data: secret })),
    ],
    [
      'no version at all',
      'INVALID_ARGUMENT',
      () => decide(() => ({ type: 'Vault.Put', version: SECRET, data: secret })),
    ],
    ['a wrong id', 'INVALID_ARGUMENT', () => decide(() => ({ ...Put(secret), id: SECRET }))],
    ['a text in place of an event', 'INVALID_ARGUMENT', () => decide(() => SECRET)],
    ['data in place of an event', 'INVALID_ARGUMENT', () => decide(() => secret)],
    ['an event in place of OnStream', 'INVALID_ARGUMENT', () => decide(() => Put(secret), { vault })],
    [
      'data in place of OnStream',
      'INVALID_ARGUMENT',
      () => decide(() => ({ stream: 'Vault-v', events: secret }), { vault }),
    ],
    [
      'an event in place of an index',
      'INVALID_ARGUMENT',
      () => decide((_, context) => on(context).all!(Put(secret)), { all: [vault] }),
    ],
    [
      'a text in place of an index',
      'INVALID_ARGUMENT',
      () => decide((_, context) => on(context).all!(SECRET, Put(secret)), { all: [vault] }),
    ],
    [
      'a bigint in place of an index',
      'INVALID_ARGUMENT',
      () => decide((_, context) => on(context).all!(1n, Put(secret)), { all: [vault] }),
    ],
    [
      'a text on a stream',
      'INVALID_ARGUMENT',
      () => decide((_, context) => on(context).vault!(SECRET), { vault }),
    ],
    ['an apply that throws', 'FOLD_FAILED', () => decide(() => [Put(secret), Put(secret)])],
    [
      'an upcast that throws',
      'FOLD_FAILED',
      () => decide(() => ({ type: 'Vault.Old', version: 1, data: secret })),
    ],
    [
      'an event too large',
      'LIMIT_EXCEEDED',
      () => decide(() => Put({ secret: SECRET.repeat(limits.eventBytes / 10) })),
    ],
    [
      'too many events',
      'LIMIT_EXCEEDED',
      () =>
        decide(() =>
          Array.from({ length: limits.appendEvents + 1 }, () =>
            Checked({ pin: '1', kind: 'a', at: '2020-01-01T00:00:00Z', n: 1 }),
          ),
        ),
    ],
    ['a rejection with a detail', 'REJECTED', () => decide(() => reject('no', secret))],
    [
      'metadata of a wrong type',
      'INVALID_DATA',
      () => untyped(observedStore(), { reads: vault, handle: () => [] }, { metadata: { actor: secret } }),
    ],
    [
      'metadata that is a text',
      'INVALID_ARGUMENT',
      () => untyped(observedStore(), { reads: vault, handle: () => [] }, { metadata: SECRET }),
    ],
    [
      'options of a wrong type',
      'INVALID_ARGUMENT',
      () => untyped(observedStore(), { reads: vault, handle: () => [] }, { key: secret }),
    ],
    [
      'an input that its schema refuses',
      'INVALID_DATA',
      () =>
        defineCommand({ input: z.object({ n: z.number() }), reads: () => vault, handle: () => [] })(
          secret as never,
        ),
    ],
    [
      'an id that its schema refuses',
      'INVALID_DATA',
      () => defineAggregate({ name: 'A', id: z.uuid(), events: {}, initial: () => ({}), apply: {} })(SECRET),
    ],
    ['an id of a wrong type', 'INVALID_ARGUMENT', () => Vault(secret as never)],
    [
      'a key used before',
      'KEY_REUSED',
      async () => {
        const store = observedStore()
        const command = (input: unknown) => ({ reads: vault, input, handle: () => Put(secret) })
        await untyped(store, command(1), { key: 'k' })
        await untyped(store, command(SECRET), { key: 'k' })
      },
    ],
    [
      'a conflict',
      'CONFLICT',
      async () => {
        const store = observedStore()
        await store.append({ stream: 'Vault-v', events: [Put(secret)] })
        await store.append({ stream: 'Vault-v', events: [Put(secret)], expected: 'none' })
      },
    ],
    [
      'a stored event that is unknown',
      'UNKNOWN_EVENT',
      async () => {
        const store = observedStore()
        await store.append({ stream: 'Vault-v', events: [{ type: 'Other', data: secret }] })
        await untyped(store, { reads: vault, handle: () => [] })
      },
    ],
    [
      'an append of a wrong event',
      'INVALID_ARGUMENT',
      () => observedStore().append({ stream: 's', events: [SECRET as never] }),
    ],
    [
      'an append of wrong events',
      'INVALID_ARGUMENT',
      () => observedStore().append({ stream: 's', events: secret as never }),
    ],
    [
      'an append with a wrong expectation',
      'INVALID_ARGUMENT',
      () => observedStore().append({ stream: 's', events: [], expected: SECRET as never }),
    ],
    ['a wrong position', 'INVALID_ARGUMENT', () => observedStore().readAll({ after: SECRET }).next()],
    [
      'a wrong direction',
      'INVALID_ARGUMENT',
      () => observedStore().read('s', { direction: SECRET as never }),
    ],
    [
      'a wrong retry policy',
      'INVALID_ARGUMENT',
      () => untyped(observedStore(), open('a'), { retry: { baseDelay: SECRET } }),
    ],
  ]

  test.each(failures)('%s', async (_, code, fail) => {
    const error: unknown = await Promise.resolve()
      .then(fail)
      .then(
        () => new Error('nothing failed'),
        (thrown: unknown) => thrown,
      )
    expect(error).toMatchObject({ code })
    const { message, stack, issues } = error as Error & { issues?: unknown }
    expect(message).not.toContain(SECRET)
    expect(stack).not.toContain(SECRET)
    expect(JSON.stringify(issues ?? '')).not.toContain(SECRET)
  })
})

describe('errors of an adapter', () => {
  test('pass through execute unchanged', async () => {
    for (const mine of [
      new StoreFailedError('m'),
      new StoreFullError('m'),
      new StoreBusyError(5),
      new OutcomeUnknownError('m'),
    ]) {
      const adapter = memoryAdapter()
      const store = createStore({ ...adapter, append: () => Promise.reject(mine) })
      await expect(execute(store, open('a'))).rejects.toBe(mine)
      const several = {
        reads: { a: BankAccount('a') },
        handle: () => ({ stream: 'BankAccount-a', events: [Opened({ owner: 'A' })] }),
      }
      await expect(execute(store, several as never)).rejects.toBe(mine)
      await expect(store.append({ stream: 's', events: [Deposited({ amount: 1 })] })).rejects.toBe(mine)
    }
  })

  test('thrown at once, not as a promise, are told as well', async () => {
    const mine = new StoreFailedError('m')
    const adapter = memoryAdapter()
    const store = createStore({
      ...adapter,
      append: () => {
        throw mine
      },
    })
    await expect(execute(store, open('a'))).rejects.toBe(mine)
    await expect(
      execute(store, { reads: { a: BankAccount('a'), b: BankAccount('b') }, handle: () => [] }),
    ).rejects.toBe(mine)
  })
})
