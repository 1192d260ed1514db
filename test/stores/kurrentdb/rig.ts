import { KurrentDBClient } from '@kurrent/kurrentdb-client'
import { createStore, type EventStore, type ExpectedRevision, type Revision } from 'mneme'
import type { AppendVerdict } from 'mneme/adapter'
import { onTestFinished } from 'vitest'

import type {
  AppendRequest,
  NewEvent,
  StoreAdapter,
  StoredEvent,
} from '../../../src/adapter/store-adapter.ts'
import type { Clock } from '../../../src/base/clock.ts'
import { startProxy, type Proxy } from '../../support/proxy.ts'
import { adapterOf, realServer } from './server.ts'
import { standIn, type StandIn, type StandInOptions } from './stand-in/server.ts'

/** Which of the two the tests run on, for their names. */
export const where = realServer === undefined ? 'on the stand-in' : 'on the real server'

/** A server for a test: the real one that was given, or else a stand-in that ends with the test. */
export async function served(options: StandInOptions = {}): Promise<string> {
  return realServer ?? (await ownServer(options)).connectionString
}

/** A stand-in that ends with the test. */
export async function ownServer(options: StandInOptions = {}): Promise<StandIn> {
  const server = await standIn(options)
  onTestFinished(() => server.stop())
  return server
}

/** An adapter that ends with the test. */
export async function opened(
  connectionString: string,
  deadline?: number,
  clock?: Clock,
): Promise<StoreAdapter> {
  const adapter = await adapterOf(connectionString, deadline, clock)
  onTestFinished(() => adapter.close())
  return adapter
}

/** A store that ends with the test. */
export async function storeOf(connectionString: string, deadline?: number): Promise<EventStore> {
  const store = createStore(await adapterOf(connectionString, deadline))
  onTestFinished(() => store.close())
  return store
}

/** A client of the driver's that ends with the test. */
export function rawClient(connectionString: string): KurrentDBClient {
  const client = KurrentDBClient.connectionString(connectionString)
  onTestFinished(async () => {
    await client.dispose()
    ;(await (client as unknown as { getChannel(): Promise<{ close(): void }> }).getChannel()).close()
  })
  return client
}

/** A store behind a network that fails, and one beside it that looks. */
export interface Behind {
  readonly proxy: Proxy
  /** The connection string that leads through the proxy. */
  readonly through: string
  readonly adapter: StoreAdapter
  readonly direct: StoreAdapter
}

export async function behindProxy(deadline: number, clock?: Clock, at?: string): Promise<Behind> {
  const server = at ?? (await served())
  const proxy = await startProxy(Number(new URL(server).port))
  const through = proxy.url(server)
  return { proxy, through, adapter: await opened(through, deadline, clock), direct: await opened(server) }
}

/** A name that nobody else has. */
export function unique(name = 's'): string {
  return `${name}${crypto.randomUUID().slice(0, 13)}`
}

export function happened(stream: string, data: object = {}, rest: Partial<NewEvent> = {}): NewEvent {
  return {
    ...{ stream, id: crypto.randomUUID(), type: 'Happened', version: 1, metadata: '{}' },
    ...{ data: JSON.stringify(data), ...rest },
  }
}

/** An append under what each of its streams is expected at. */
export function appendOf(
  expectations: Readonly<Record<string, ExpectedRevision>>,
  events: readonly NewEvent[],
  rest: Partial<AppendRequest> = {},
): AppendRequest {
  const conditions = Object.entries(expectations).map(([stream, expected]) => ({ stream, expected }))
  return { conditions, events, keys: [], ids: 'made', ...rest }
}

export async function headOf(adapter: StoreAdapter, stream: string): Promise<Revision> {
  const [head] = await adapter.heads([stream])
  return head!
}

export async function streamOf(adapter: StoreAdapter, stream: string): Promise<StoredEvent[]> {
  const events: StoredEvent[] = []
  const request = { stream, direction: 'forwards', from: undefined, to: undefined, limit: undefined } as const
  for await (const page of adapter.read(request)) events.push(...page)
  return events
}

/** All of the store's events of some streams. */
export async function logOf(
  adapter: StoreAdapter,
  streams?: readonly string[],
  after?: string,
): Promise<StoredEvent[]> {
  const events: StoredEvent[] = []
  const nothing = { to: undefined, limit: undefined, categories: undefined, types: undefined }
  const request = { direction: 'forwards', after, streams, ...nothing } as const
  for await (const page of adapter.readAll(request)) events.push(...page)
  return events
}

/** What became of a call. */
export interface Fate<T = AppendVerdict> {
  readonly value?: T
  readonly code?: string
  readonly error?: Error
}

export async function fateOf<T>(call: Promise<T>): Promise<Fate<T>> {
  try {
    return { value: await call }
  } catch (error) {
    return {
      error: error as Error,
      code: (error as { code?: string }).code ?? `no code: ${String((error as Error).stack)}`,
    }
  }
}

export async function until(
  isSo: () => boolean | Promise<boolean>,
  what: string,
  patience = 10_000,
): Promise<void> {
  const end = performance.now() + patience
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`in vain: until ${what}`)
    await sleep(5)
  }
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

export function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i))
}

/** What nobody caught while the test ran. Ask when all is over. */
export function uncaught(): readonly unknown[] {
  const found: unknown[] = []
  const listener = (reason: unknown) => void found.push(reason)
  process.on('unhandledRejection', listener)
  process.on('uncaughtException', listener)
  onTestFinished(() => {
    process.off('unhandledRejection', listener)
    process.off('uncaughtException', listener)
  })
  return found
}

/** Whether a call has not settled by now. */
export async function isPending(call: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending')
  return (await Promise.race([call, sleep(0).then(() => pending)])) === pending
}
