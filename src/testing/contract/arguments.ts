import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { InvalidArgumentError, UnsupportedError } from '../../base/errors.ts'
import { createStore } from '../../store/create-store.ts'
import type {
  AppendOptions,
  EventStore,
  ReadAllOptions,
  ReadOptions,
  StreamsOptions,
  StreamWrite,
} from '../../store/event-store.ts'
import { changed } from './faults.ts'
import { drain, failureOf, nothingWritten } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happened, happenings } from './sample-events.ts'

/** A wrong argument, and the argument that the error names. */
type Wrong = readonly [given: unknown, argument: string]

const writes: readonly Wrong[] = [
  [undefined, 'write'],
  [null, 'write'],
  ['a', 'write'],
  [[null], 'writes[0]'],
  [[{ stream: 'a' }, 7], 'writes[1]'],
  [{ stream: '' }, 'write.stream'],
  [[{ stream: 'a' }, { stream: 1 }], 'writes[1].stream'],
  [{ stream: 'a', events: {} }, 'write.events'],
  [{ stream: 'a', events: happened(0) }, 'write.events'],
  [{ stream: 'a', events: [null] }, 'write.events[0]'],
  [{ stream: 'a', events: new Array(2) }, 'write.events[0]'],
  [{ stream: 'a', events: [happened(0), 'x'] }, 'write.events[1]'],
  [{ stream: 'a', events: [{ ...happened(0), id: 'x' }] }, 'write.events[0].id'],
  [{ stream: 'a', events: [{ data: {} }] }, 'write.events[0].type'],
  [{ stream: 'a', events: [happened(0), { ...happened(1), time: '2026-01-01' }] }, 'write.events[1].time'],
  [{ stream: 'a', events: [{ ...happened(0), metadata: { actor: 'ann' } }] }, 'write.events[0].metadata'],
  [{ stream: 'a', events: [{ ...happened(0), Id: crypto.randomUUID() }] }, 'write.events[0].Id'],
  [{ stream: 'a', events: [{ ...happened(0), version: 0 }] }, 'write.events[0].version'],
  [{ stream: 'a', events: [{ ...happened(0), version: 1.5 }] }, 'write.events[0].version'],
  [{ stream: 'a', events: [{ ...happened(0), version: '1' }] }, 'write.events[0].version'],
  ...[-1, 1.5, Number.NaN, 2 ** 53, '0', 'None', null, {}, true, 1n].map((expected): Wrong => [
    { stream: 'a', expected },
    'write.expected',
  ]),
  [
    [
      { stream: 'a', expected: 'none' },
      { stream: 'a', expected: 'any' },
    ],
    'writes[1].expected',
  ],
]

const appendOptions: readonly Wrong[] = [
  [null, 'options'],
  ['key', 'options'],
  [{ idempotencyKey: 'k' }, 'options.idempotencyKey'],
  [{ signal: {} }, 'signal'],
  [{ key: 7 }, 'key'],
  [{ key: '' }, 'key'],
  ...['actor', ['x'], 7].map((metadata): Wrong => [{ metadata }, 'metadata']),
]

const numbers = [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, '1', null, 1n, 2 ** 53]

const bothReadOptions: readonly Wrong[] = [
  [null, 'options'],
  [{ direction: 'back' }, 'direction'],
  [{ direction: null }, 'direction'],
  [{ maxCount: 1 }, 'options.maxCount'],
  [{ signal: 'x' }, 'signal'],
  ...[...numbers, 0].map((limit): Wrong => [{ limit }, 'limit']),
]

const readOptions: readonly Wrong[] = [
  ...bothReadOptions,
  [{ after: '0' }, 'options.after'],
  ...numbers.map((from): Wrong => [{ from }, 'from']),
  ...numbers.map((to): Wrong => [{ to }, 'to']),
]

const readAllOptions: readonly Wrong[] = [
  ...bothReadOptions,
  [{ from: 0 }, 'options.from'],
  [{ after: 1 }, 'after'],
  [{ after: null }, 'after'],
  [{ after: '' }, 'after'],
  [{ after: 'yesterday' }, 'after'],
  [{ to: 1 }, 'to'],
  [{ to: null }, 'to'],
  [{ to: '' }, 'to'],
  [{ to: 'tomorrow' }, 'to'],
  [{ to: '7', direction: 'backwards' }, 'to'],
  [{ streams: ['a', ''] }, 'streams[1]'],
  [{ categories: [1] }, 'categories[0]'],
  [{ types: ['a b'] }, 'types[0]'],
  [{ streams: 'a' }, 'streams'],
  [{ categories: 'a' }, 'categories'],
  [{ types: 'a' }, 'types'],
]

const streamsOptions: readonly Wrong[] = [
  [null, 'options'],
  [{ categories: ['a'] }, 'options.categories'],
  [{ direction: 'backwards' }, 'options.direction'],
  [{ category: '' }, 'category'],
  [{ category: 1 }, 'category'],
  [{ after: '' }, 'after'],
  [{ after: 7 }, 'after'],
  [{ signal: 'x' }, 'signal'],
  ...[...numbers, 0].map((limit): Wrong => [{ limit }, 'limit']),
]

/** F1 for wrong arguments: an error that names the argument, and nothing is written. */
export function wrongArguments(prove: Prove): void {
  prove('F1: append names the argument that is wrong', async (store) => {
    await nothingWritten(store, async () => {
      for (const [given, argument] of writes)
        await names(argument, given, () => store.append(given as StreamWrite))
    })
  })

  prove('F1: append names the option that is wrong', async (store) => {
    await nothingWritten(store, async () => {
      for (const [given, argument] of appendOptions) {
        const call = () => store.append({ stream: 'a', events: [happened(0)] }, given as AppendOptions)
        await names(argument, given, call)
      }
    })
  })

  prove('F1: an event that was read is not appended, and the error says how to copy it', async (store) => {
    await store.append({ stream: 'a', events: [happened(0)] }, { metadata: { actor: 'ann' } })
    const [read] = await drain(store.read('a'))
    const { type, data, version, id } = read!
    await nothingWritten(store, async () => {
      const { message } = await failureOf(InvalidArgumentError, () =>
        store.append({ stream: 'b', events: [read as never] }),
      )
      assert.match(
        message,
        /^write\.events\[0\] is an event that was read; append a copy, \{ type, data, version, id \}/,
      )
    })
    await store.append({ stream: 'b', events: [{ type, data, version, id }] }, { metadata: read!.metadata })
    const { time: _, position: __, ...copy } = (await drain(store.read('b')))[0]!
    assert.deepEqual(copy, { type, data, version, id, stream: 'b', revision: 0, metadata: { actor: 'ann' } })
  })

  prove('F1: a write with an unknown property, such as a misspelt expected, is refused', async (store) => {
    await nothingWritten(store, async () => {
      for (const misspelt of [{ expectedRevision: 'none' }, { expect: 'none' }, { event: happened(1) }]) {
        const write = { stream: 'a', events: [happened(0)], ...misspelt }
        const { argument } = await failureOf(InvalidArgumentError, () => store.append(write))
        assert.match(argument, /expect|event/)
      }
    })
  })

  prove('F1: read names the argument that is wrong', async (store) => {
    await store.append({ stream: 'a', events: happenings(2) })
    for (const [given, argument] of readOptions) {
      await names(argument, given, () => drain(store.read('a', given as ReadOptions)))
    }
    await names('stream', 7, () => drain(store.read(7 as unknown as string)))
    await names('stream', undefined, () => store.head(undefined as unknown as string))
  })

  prove('F1: readAll names the argument that is wrong', async (store) => {
    await store.append({ stream: 'a', events: happenings(2) })
    for (const [given, argument] of readAllOptions) {
      await names(argument, given, () => drain(store.readAll(given as ReadAllOptions)))
    }
  })

  prove('F1: readPage, readAllPage and streams name the argument that is wrong', async (store) => {
    await store.append({ stream: 'a', events: happenings(2) })
    for (const [given, argument] of readOptions) {
      await names(argument, given, () => store.readPage('a', given as ReadOptions))
    }
    for (const [given, argument] of readAllOptions) {
      await names(argument, given, () => store.readAllPage(given as ReadAllOptions))
    }
    for (const [given, argument] of streamsOptions) {
      await names(argument, given, () => store.streams(given as StreamsOptions))
    }
  })

  prove('F1: createStore names the option that is wrong', async (_, realm) => {
    const adapter = await realm.connect()
    for (const [option, value] of [
      ['maxPending', 0],
      ['maxPending', 1.5],
      ['cachedStates', -1],
      ['cachedStates', '1'],
    ] as const) {
      await names(option, value, () => createStore(adapter, { [option]: value }))
    }
    await adapter.close()
  })

  prove(
    'F1: a feature that the store declares it lacks is refused, and nothing is written',
    async (store, realm) => {
      const lacking = (capability: 'keys' | 'severalStreams'): Promise<EventStore> =>
        realm.open((adapter) =>
          changed(adapter, { capabilities: { ...adapter.capabilities, [capability]: false } }),
        )
      const [keyless, single] = [await lacking('keys'), await lacking('severalStreams')]
      await nothingWritten(store, async () => {
        await failureOf(UnsupportedError, () =>
          keyless.append({ stream: 'a', events: [happened(0)] }, { key: 'k' }),
        )
        const write = { stream: 'a', events: [happened(0)] }
        await failureOf(UnsupportedError, () => single.append([write, { stream: 'b', expected: 'none' }]))
      })
      await single.append([
        { stream: 'a', events: [happened(0)] },
        { stream: 'a', events: [happened(1)] },
      ])
      assert.equal(await store.head('a'), 1)
    },
  )
}

async function names(argument: string, given: unknown, call: () => unknown): Promise<void> {
  const error = await failureOf(InvalidArgumentError, call).catch((cause: unknown) => {
    throw new Error(`given ${describe(given)} as ${argument}`, { cause })
  })
  assert.equal(error.argument, argument, `given ${describe(given)}`)
  assert.ok(error instanceof TypeError)
  assert.deepEqual([error.code, error.isRetryable], ['INVALID_ARGUMENT', false])
}

function describe(given: unknown): string {
  return inspect(given, { breakLength: Infinity })
}
