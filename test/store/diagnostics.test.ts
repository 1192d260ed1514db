import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  createStore,
  defineCommand,
  execute,
  reject,
  StoreUnavailableError,
  tryExecute,
  type AppendMessage,
  type ConflictMessage,
  type ExecuteMessage,
  type ReadMessage,
  type SubscriptionInterruptedMessage,
  type SubscriptionPageMessage,
} from 'mneme'
import { memoryStore } from 'mneme/memory'
import {
  defineProjection,
  runProjections,
  type ProjectionBatchMessage,
  type ProjectionFailedMessage,
} from 'mneme/projections'
import { sqliteTarget } from 'mneme/sqlite'
import { expect, onTestFinished, test } from 'vitest'

import { memoryAdapter } from '../../src/stores/memory/adapter.ts'
import { BankAccount, Deposited, Opened } from '../support/bank.ts'

const deposit = defineCommand({
  name: 'deposit',
  reads: ({ account }: { account: string; amount: number }) => BankAccount(account),
  handle: (_, { amount }) => {
    if (amount === 0) return reject('nothing')
    if (amount < 0) throw new RangeError('less than nothing')
    return Deposited({ amount })
  },
})

/** The messages of a channel at one step, copied when they come. */
function heard<Message extends object>(name: string): Message[] {
  const messages: Message[] = []
  const hear = (message: unknown) => void messages.push({ ...(message as Message) })
  subscribe(name, hear)
  onTestFinished(() => void unsubscribe(name, hear))
  return messages
}

/** Calls back at the start of each watched call. */
function atStart(name: string, hear: (message: never) => void): void {
  subscribe(`tracing:${name}:start`, hear as (message: unknown) => void)
  onTestFinished(() => void unsubscribe(`tracing:${name}:start`, hear as (message: unknown) => void))
}

test('the names of the channels are those that the documentation lists, and stay as they are', () => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/observability.md'), 'utf8')
  const [channels = ''] = text.split('## OpenTelemetry')
  const listed = [...channels.matchAll(/^\| `((?:tracing:)?mneme\.[^`]+)` /gm)].map(([, name]) => name)
  expect(listed).toEqual([
    'tracing:mneme.execute:*',
    'tracing:mneme.append:*',
    'tracing:mneme.read:*',
    'tracing:mneme.projection.batch:*',
    'tracing:mneme.reaction.timers:*',
    'mneme.conflict',
    'mneme.snapshot',
    'mneme.subscription.page',
    'mneme.subscription.interrupted',
    'mneme.projection.failed',
  ])
})

test('a command is told of from its start to its outcome, with attempts, conflicts and whether its state was cached', async () => {
  const started = heard<ExecuteMessage>('tracing:mneme.execute:start')
  const ended = heard<ExecuteMessage>('tracing:mneme.execute:asyncEnd')
  const failed = heard<ExecuteMessage>('tracing:mneme.execute:error')
  const store = memoryStore()
  await execute(store, deposit({ account: 'a', amount: 1 }), { key: 'one', metadata: { actor: 'ann' } })
  await execute(store, deposit({ account: 'a', amount: 1 }), { key: 'one' })
  await tryExecute(store, deposit({ account: 'a', amount: 0 }))
  await expect(execute(store, deposit({ account: 'a', amount: -1 }))).rejects.toThrow(RangeError)
  expect(started[0]).toEqual({ command: 'deposit', streams: ['BankAccount-a'], metadata: { actor: 'ann' } })
  const common = { command: 'deposit', streams: ['BankAccount-a'], conflicts: 0 }
  expect(ended).toMatchObject([
    { ...common, outcome: 'ok', attempts: 1, isCached: false, events: 1 },
    { ...common, outcome: 'repeated', isCached: true, events: 1 },
    { ...common, outcome: 'rejected', reason: 'nothing', isCached: true, events: 0 },
    { ...common, outcome: 'error', error: new RangeError('less than nothing') },
  ])
  expect(failed).toHaveLength(1)
  await store.close()
})

test('conflicts are told of, and a command that gives up after them has the outcome conflict', async () => {
  const conflicts = heard<ConflictMessage>('mneme.conflict')
  const ended = heard<ExecuteMessage>('tracing:mneme.execute:asyncEnd')
  const store = memoryStore()
  const raced = defineCommand({
    reads: () => BankAccount('a'),
    handle: async () => {
      await store.append({ stream: BankAccount('a'), events: [Opened({ owner: 'Ann' })] })
      return Deposited({ amount: 1 })
    },
  })
  const executing = execute(store, raced(), { retry: { maxRetries: 1, baseDelay: 1 } })
  await expect(executing).rejects.toThrow('was expected')
  const at = { command: undefined, stream: 'BankAccount-a', counts: true }
  expect(conflicts).toMatchObject([
    { ...at, expected: 'none', actual: 0, attempt: 1 },
    { ...at, expected: 0, actual: 1, attempt: 2 },
  ])
  expect(ended).toMatchObject([{ outcome: 'conflict', attempts: 2, conflicts: 2 }])
  await store.close()
})

test('an append is told of once, with the number of commands that share it', async () => {
  const store = memoryStore()
  await store.append({ stream: BankAccount('a'), events: [Opened({ owner: 'Ann' })] })
  const appends = heard<AppendMessage>('tracing:mneme.append:asyncEnd')
  const write = { stream: BankAccount('a'), events: [Deposited({ amount: 1 })], expected: 0 } as const
  await store.append([write, { stream: BankAccount('b') }])
  await store.append(write).catch(() => undefined)
  await Promise.all([1, 2, 3].map((amount) => execute(store, deposit({ account: 'a', amount }))))
  const streams = ['BankAccount-a']
  expect(appends).toMatchObject([
    { commands: 0, streams: ['BankAccount-a', 'BankAccount-b'], events: 1, outcome: 'ok', metadata: {} },
    { commands: 0, streams, events: 1, outcome: 'conflict' },
    { commands: 3, streams, events: 3, outcome: 'ok', metadata: undefined },
  ])
  await store.close()
})

test('a subscriber may add metadata at the start; the events are stored with it, and the options stay the caller’s own', async () => {
  atStart('mneme.execute', ({ metadata }: ExecuteMessage) => (metadata.trace ??= 'e'))
  atStart('mneme.append', ({ metadata }: AppendMessage) => metadata && (metadata.trace ??= 'a'))
  const store = memoryStore()
  const options = { metadata: { actor: 'ann' } }
  const { events } = await execute(store, deposit({ account: 'a', amount: 1 }), options)
  await store.append({ stream: BankAccount('a'), events: [Deposited({ amount: 2 })] })
  await store.append(
    { stream: BankAccount('a'), events: [Deposited({ amount: 3 })] },
    { metadata: { trace: 'mine' } },
  )
  expect(options).toEqual({ metadata: { actor: 'ann' } })
  expect(events[0]?.metadata).toEqual({ actor: 'ann', trace: 'e' })
  const stored = []
  for await (const { metadata } of store.read(BankAccount('a'))) stored.push(metadata)
  expect(stored).toEqual([{ actor: 'ann', trace: 'e' }, { trace: 'a' }, { trace: 'mine' }])
  await store.close()
})

test('wrong arguments fail with the same errors, watched or not', async () => {
  const store = memoryStore()
  const append = store.append.bind(store) as (...args: unknown[]) => Promise<unknown>
  const run = execute as (...args: unknown[]) => Promise<unknown>
  const write = { stream: 'a', events: [] }
  const calls = [
    () => append(write, null),
    () => append(write, { metadata: 'text' }),
    () => append(write, { metadata: new Map() }),
    () => append(write, { unknown: 1 }),
    () => append(null),
    () => run(store, null),
    () => run(store, { reads: null, handle: () => [] }),
    () => run(store, deposit({ account: 'a', amount: 1 }), { metadata: 7 }),
    () => run({}, deposit({ account: 'a', amount: 1 })),
  ]
  const messages = async () => {
    const results = await Promise.allSettled(calls.map((call) => call()))
    return results.map((result) => (result.status === 'rejected' ? String(result.reason) : 'resolved'))
  }
  const unwatched = await messages()
  expect(unwatched).not.toContain('resolved')
  heard('tracing:mneme.execute:asyncEnd')
  heard('tracing:mneme.append:asyncEnd')
  expect(await messages()).toEqual(unwatched)
  await store.close()
})

test('a subscriber makes the call itself, in a context of its own, also for commands that share an append', async () => {
  const context = new AsyncLocalStorage<string>()
  const adapter = memoryAdapter()
  const seen: unknown[] = []
  const store = createStore({
    ...adapter,
    append: (...args) => {
      seen.push(`append ${context.getStore()}`)
      return adapter.append(...args)
    },
  })
  let n = 0
  atStart('mneme.execute', (message: ExecuteMessage) => {
    const name = `execute ${++n}`
    message.within = (call) => context.run(name, call)
  })
  const command = defineCommand({
    reads: (_: number) => BankAccount('a'),
    handle: (_, i) => {
      seen.push(`handle ${context.getStore()}`)
      return Deposited({ amount: i })
    },
  })
  await Promise.all([execute(store, command(1)), execute(store, command(2))])
  await execute(store, command(3))
  expect(seen).toEqual([
    ...['handle execute 1', 'handle execute 2', 'append execute 1'],
    ...['handle execute 3', 'append execute 3'],
  ])
  await store.close()
})

test('each page that is read is told of, of streams, of the log and of subscriptions', async () => {
  const store = memoryStore()
  await store.append({
    stream: BankAccount('a'),
    events: [Opened({ owner: 'Ann' }), Deposited({ amount: 1 })],
  })
  const reads = heard<ReadMessage>('tracing:mneme.read:asyncEnd')
  const pages = heard<SubscriptionPageMessage>('mneme.subscription.page')
  for await (const _ of store.read('BankAccount-a', { direction: 'backwards' }));
  for await (const { revision } of store.readAll()) if (revision === 0) break
  expect(reads.filter(({ events }) => events !== 0)).toMatchObject([
    { stream: 'BankAccount-a', direction: 'backwards', events: 2 },
    { stream: undefined, direction: 'forwards', events: 2 },
  ])
  for await (const { revision } of store.subscribe()) if (revision === 1) break
  expect(pages.flatMap(({ events }) => events.map(({ revision }) => revision))).toEqual([0, 1])
  await store.close()
})

test('batches and failures of projections are told of, and handlers run in the context that a subscriber gives', async () => {
  const context = new AsyncLocalStorage<string>()
  atStart('mneme.projection.batch', (message: ProjectionBatchMessage) => {
    message.within = (call) => context.run(message.projection, call)
  })
  const batches = heard<ProjectionBatchMessage>('tracing:mneme.projection.batch:asyncEnd')
  const failures = heard<ProjectionFailedMessage>('mneme.projection.failed')
  const store = memoryStore()
  const target = sqliteTarget(':memory:')
  const seen: unknown[] = []
  const projection = defineProjection({
    name: 'watched',
    into: target,
    from: [BankAccount],
    onError: 'park',
    retry: { maxRetries: 1, baseDelay: 1, minDelay: 1 },
    on: {
      'BankAccount.Deposited': ({ data }) => {
        seen.push(context.getStore())
        if (data.amount === 13) throw new Error('unlucky')
      },
    },
  })
  const events = [1, 13, 2].map((amount) => Deposited({ amount }))
  await store.append({ stream: BankAccount('a'), events })
  const running = await runProjections(store, [projection])
  await running.caughtUp()
  await running.stop()
  expect(new Set(seen)).toEqual(new Set(['watched']))
  expect(failures).toMatchObject([
    { projection: 'watched', outcome: 'retrying', failure: { message: 'unlucky', attempts: 1 } },
    { projection: 'watched', outcome: 'parked', failure: { message: 'unlucky', attempts: 2 } },
  ])
  const done = batches.filter(({ error, events }) => error === undefined && events.length > 0)
  expect(done).toMatchObject([
    { projection: 'watched', version: 1, build: 'live', handled: 1 },
    { handled: 1, position: await store.logHead() },
  ])
  await store.close()
  await target.close()
})

test('an interruption of a subscription is told of', async () => {
  const interruptions = heard<SubscriptionInterruptedMessage>('mneme.subscription.interrupted')
  const adapter = memoryAdapter()
  let isDown = true
  const store = createStore({
    ...adapter,
    identity: () => {
      if (!isDown) return adapter.identity()
      isDown = false
      return Promise.reject(new StoreUnavailableError('down'))
    },
  })
  await store.append({ stream: BankAccount('a'), events: [Opened({ owner: 'Ann' })] })
  for await (const { revision } of store.subscribe()) if (revision === 0) break
  expect(interruptions).toMatchObject([{ error: { code: 'STORE_UNAVAILABLE' } }])
  await store.close()
})
