import type { Revision, StreamSummary } from 'mneme'
import type {
  AppendRequest,
  AppendVerdict,
  EraseRequest,
  EraseVerdict,
  StoreAdapter,
  StoredEvent,
} from 'mneme/adapter'
import { storeContract } from 'mneme/testing'
import { describe, expect, test } from 'vitest'

import { conflictOf } from '../../src/adapter/append-rules.ts'
import { skipByAppending } from '../../src/adapter/skipping.ts'
import { memoryAdapter, MemoryData } from '../../src/stores/memory/adapter.ts'

/** Makes an adapter that breaks a promise, over data that others share. */
type Break = (adapter: StoreAdapter, data: MemoryData) => StoreAdapter

/** Changes what erasing does. */
function erasing(
  change: (
    erase: (request: EraseRequest) => Promise<EraseVerdict>,
    request: EraseRequest,
    data: MemoryData,
  ) => Promise<EraseVerdict>,
): Break {
  return (adapter, data) => ({
    ...adapter,
    erase: (request) => change((given) => adapter.erase!(given), request, data),
  })
}

async function* pagesOf<Page>(pages: readonly Page[]): AsyncGenerator<Page, undefined> {
  yield* pages
  return undefined
}

const tick = () => new Promise<void>((resolve) => setImmediate(resolve))

/** What is broken, how, and the cases that have to notice it. */
const breaks: readonly [string, Break, readonly string[]][] = [
  [
    'ignores conditions on streams that are only read',
    appending((append, request) => {
      const isWritten = (stream: string) => request.events.some((event) => event.stream === stream)
      const conditions = request.conditions.map((condition) =>
        isWritten(condition.stream) ? condition : { ...condition, expected: 'any' as const },
      )
      return append({ ...request, conditions })
    }),
    [
      'W2: an append checks every kind of expected revision on streams that it only reads',
      "W3: exactly one of two appends that each read the other's stream wins",
      "W3: exactly one of two commands that each rely on the other's account succeeds",
      'W3: an empty append detects a torn read of two streams',
      'W3: a torn read of two streams is never reported',
    ],
  ],
  [
    'appends stream by stream, so that the first stays when the second conflicts',
    appending(async (append, request) => {
      const verdicts: AppendVerdict[] = []
      for (const condition of request.conditions) {
        const events = request.events.filter(({ stream }) => stream === condition.stream)
        const verdict = await append({ conditions: [condition], events, keys: [], ids: 'made' })
        if (verdict.kind !== 'appended') return verdict
        verdicts.push(verdict)
      }
      return joined(request, verdicts)
    }),
    [
      'W1: one stream at an unexpected revision refuses the whole append, whichever stream it is',
      'W1: none of 64 concurrent appends over two streams is half written when every third conflicts on its second stream',
      'R1: events interleaved over streams keep their order and are adjacent in the store',
    ],
  ],
  [
    'checks the conditions, then appends a moment later',
    (adapter, data) => ({
      ...adapter,
      append: async (request) => {
        const heads = await adapter.heads(request.conditions.map(({ stream }) => stream))
        const conflict = conflictOf(request, heads)
        if (conflict) return conflict
        await tick()
        const conditions = request.conditions.map((one) => ({ ...one, expected: 'any' as const }))
        return memoryAdapter(data).append({ ...request, conditions })
      },
    }),
    [
      'W2: exactly one of 20 concurrent creations wins',
      'W2: exactly one of 20 concurrent appends at one revision wins',
      "W3: exactly one of two appends that each read the other's stream wins",
      'W3: exactly as many of 64 concurrent withdrawals succeed as the balance allows, over 2 connections',
    ],
  ],
  [
    'takes any for the revision at which the stream stood',
    (adapter) => ({
      ...adapter,
      append: async (request) => {
        const conditions = await Promise.all(
          request.conditions.map(async (condition) =>
            condition.expected === 'any'
              ? { ...condition, expected: (await adapter.heads([condition.stream]))[0]! }
              : condition,
          ),
        )
        await tick()
        return adapter.append({ ...request, conditions })
      },
    }),
    ['W2: appends that expect any never conflict and get revisions without a gap'],
  ],
  [
    'checks nothing where there are no events',
    appending((append, request) => {
      if (request.events.length > 0) return append(request)
      const conditions = request.conditions.map((one) => ({ ...one, expected: 'any' as const }))
      return append({ ...request, conditions })
    }),
    [
      'W2: an append and an empty append check every kind of expected revision',
      'W2: an empty append checks several streams',
      'W3: a command that gave a rejection on an outdated state is decided again',
      'W3: a command that gave a thrown error on several streams, one of them outdated, is decided again',
      'W3: a torn read of two streams is never reported',
    ],
  ],
  [
    'forgets keys',
    appending((append, request) => append({ ...request, keys: [], ids: 'made' })),
    [
      "W4: a key used again appends nothing and returns the first append's result",
      'W4: one key used by 20 callers at once, expecting any, makes one append and 20 equal results',
      'W4: the same key with another input is an error',
      'W4: one key executed by 20 callers at once gives 20 equal results and one append',
    ],
  ],
  [
    'forgets keys when it is opened again',
    (adapter, data) => {
      data.keys.clear()
      return adapter
    },
    ['W4: a key is still known after 10,000 other events and a restart'],
  ],
  [
    'looks at the expectation before the key',
    (adapter) => ({
      ...adapter,
      append: async (request) => {
        const heads = await adapter.heads(request.conditions.map(({ stream }) => stream))
        return conflictOf(request, heads) ?? adapter.append(request)
      },
    }),
    [
      'W4: a known key answers before the expected revision is checked',
      'W4: the same append sent again, expecting none, succeeds and stores one copy',
    ],
  ],
  [
    'keeps the key of an append that conflicts',
    (adapter, data) => ({
      ...adapter,
      append: async (request) => {
        const verdict = await adapter.append(request)
        if (verdict.kind === 'conflict') {
          for (const { key, fingerprint } of request.keys)
            data.keys.set(key, { key, fingerprint, first: 0, count: 0, heads: [] })
        }
        return verdict
      },
    }),
    ['W4: an append that conflicts keeps no key'],
  ],
  [
    'takes a repeat for a conflict',
    appending(async (append, request) => {
      const verdict = await append(request)
      const { stream, expected } = request.conditions[0]!
      return verdict.kind === 'repeated'
        ? { kind: 'conflict', stream, expected, actual: verdict.heads[0]! }
        : verdict
    }),
    [
      'W4: the same append sent again, expecting none, succeeds and stores one copy',
      'W4: an append whose answer was lost after its commit, expecting 0, is stored once when sent again',
    ],
  ],
  [
    'appends a repeat again where the stream has grown',
    appending(async (append, request) => {
      const verdict = await append(request)
      if (verdict.kind !== 'repeated') return verdict
      return append({
        ...request,
        conditions: request.conditions.map((one) => ({ ...one, expected: 'any' as const })),
      })
    }),
    [
      'W4: the same append sent by 10 callers at once, expecting none, succeeds 10 times and stores one copy',
      'W4: the same append sent after others and a restart, expecting 1, answers as the first one did',
    ],
  ],
  [
    'reads all streams in another order than that of their events',
    reading((page) => [...page].sort((a, b) => (a.stream < b.stream ? -1 : a.stream > b.stream ? 1 : 0))),
    [
      'R1: events interleaved over streams keep their order and are adjacent in the store',
      'R1: positions are strings that compare with < and survive JSON',
    ],
  ],
  [
    'skips an event where a page begins',
    reading((page, n) => (n > 0 ? page.slice(1) : page)),
    [
      'R1: reading a stream neither loses nor duplicates an event at the end of a page',
      'R1: reading all streams neither loses nor duplicates an event at the end of a page, with or without a filter',
    ],
  ],
  [
    'gives a head that was left behind',
    (adapter) => ({
      ...adapter,
      heads: async (streams) =>
        (await adapter.heads(streams)).map((head) =>
          typeof head === 'number' && head > 0 ? head - 1 : head,
        ),
    }),
    ['R5: a page of a stream comes with the head that the stream had then'],
  ],
  [
    'lists streams in the order of UTF-16',
    (adapter) => ({
      ...adapter,
      streams: async function* ({ after, limit, category }) {
        const all: StreamSummary[] = []
        for await (const page of adapter.streams!({ category, after: undefined, limit: undefined }))
          all.push(...page)
        const behind = all.filter(({ stream }) => after === undefined || stream > after)
        yield behind.sort((a, b) => (a.stream < b.stream ? -1 : 1)).slice(0, limit)
      },
    }),
    [
      "R6: streams are listed in the order of their names' bytes, with their revisions and numbers of events",
      'R6: the streams of a category are listed, and of no other category that begins like it',
    ],
  ],
  [
    'reads on behind the place up to which it is to read',
    (adapter) => ({
      ...adapter,
      read: (request) => adapter.read({ ...request, to: undefined }),
      readAll: (request) => adapter.readAll({ ...request, to: undefined }),
    }),
    [
      'R1: a stream is read up to a revision, inclusive, in both directions',
      'R1: reading up to a revision neither loses nor adds an event at the end of a page',
      'R1: all streams are read up to a position, inclusive, in both directions',
      'R1: a reader up to the head of the log gives what was there, whatever is appended',
      'R3: readAll with streams, categories, types and limits selects what a plain filter selects',
    ],
  ],
  [
    'ignores the limit',
    (adapter) => ({ ...adapter, read: (request) => adapter.read({ ...request, limit: undefined }) }),
    [
      'R1: a stream is read forwards and backwards, from any revision, with any limit',
      'R1: reading backwards with limit 1 gives the last event',
      'R4: a reader with a limit fetches no more than the limit',
    ],
  ],
  [
    'finds categories by the beginning of a name',
    (adapter) => ({
      ...adapter,
      readAll: async function* ({ categories, ...request }) {
        const of = (event: StoredEvent) =>
          !categories || categories.some((one) => event.stream.startsWith(one))
        for await (const page of adapter.readAll({ ...request, categories: undefined, limit: undefined })) {
          yield page.filter(of)
        }
      },
    }),
    ['R3: readAll with streams, categories, types and limits selects what a plain filter selects'],
  ],
  [
    'reads the whole stream as one page',
    (adapter) => ({
      ...adapter,
      read: async function* (request) {
        const whole: StoredEvent[] = []
        for await (const page of adapter.read(request)) whole.push(...page)
        yield whole
      },
    }),
    ['R4: a stream is read page by page as its reader asks for it'],
  ],
  [
    'gives positions that do not sort as text',
    renamingPositions((position) => String(Number(position))),
    ['R1: positions are strings that compare with < and survive JSON'],
  ],
  [
    'is another store for each connection',
    (adapter) => {
      const identity = crypto.randomUUID()
      return { ...adapter, identity: async () => identity }
    },
    ['R1: the identity of a store is a UUID, the same for every connection and after a restart'],
  ],
  [
    'acknowledges what it has not kept',
    (adapter, data) => {
      for (const streams of [data.log, ...data.streams.values()]) streams.length = 0
      return adapter
    },
    ['W5: acknowledged events are unchanged after a restart'],
  ],
  [
    'tells the heads of several streams one after the other',
    (adapter) => ({
      ...adapter,
      heads: async (streams) => {
        const heads: Revision[] = []
        for (const stream of streams) {
          heads.push(...(await adapter.heads([stream])))
          await tick()
        }
        return heads
      },
    }),
    ['R5: load of two streams never gives one before and one after a transfer between them'],
  ],
  [
    'takes streams for one that differ in case',
    (adapter) => ({
      ...adapter,
      append: (request) =>
        adapter.append({
          ...request,
          conditions: request.conditions.map((one) => ({ ...one, stream: one.stream.toLowerCase() })),
          events: request.events.map((one) => ({ ...one, stream: one.stream.toLowerCase() })),
        }),
      read: (request) => adapter.read({ ...request, stream: request.stream.toLowerCase() }),
      heads: (streams) => adapter.heads(streams.map((stream) => stream.toLowerCase())),
    }),
    ['W7: stream names that differ in any character are different streams'],
  ],
  [
    'keeps no NUL and half no surrogate pair',
    changingData((data) => data.replace(/\\u0000/g, '').replace(/\\ud[89a-f]../g, '\\ufffd')),
    ['W6: what is read equals what was written'],
  ],
  [
    'keeps numbers as a database keeps them',
    changingData((data) => data.replace(/\d\.\d{10,}/g, (digits) => Number(digits).toFixed(8))),
    ['W6: what is read equals what was written'],
  ],
  [
    'sorts the members of data',
    changingData((data) => {
      const value = JSON.parse(data) as Record<string, unknown>
      const keys = Object.keys(value).sort()
      const inner = value.value
      const sorted = (object: object) =>
        Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)))
      const isPlain = typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      return JSON.stringify(
        isPlain ? { value: sorted(inner) } : Object.fromEntries(keys.map((key) => [key, value[key]])),
      )
    }),
    ['W6: what is read equals what was written'],
  ],
  [
    'fails all that goes together when one conflicts',
    (adapter, data) => {
      let failing: AppendVerdict | undefined
      const headOf = (stream: string) => data.streams.get(stream)?.at(-1)?.revision ?? 'none'
      return {
        ...adapter,
        append: (request) => {
          failing ??= conflictOf(
            request,
            request.conditions.map(({ stream }) => headOf(stream)),
          )
          if (!failing) return adapter.append(request)
          setImmediate(() => (failing = undefined))
          return Promise.resolve(failing)
        },
      }
    },
    ['W1: each of 64 concurrent appends gets its own verdict when every third conflicts'],
  ],
  [
    'gives an event of a subscription twice where a page ends',
    subscribing((events, last) => (last ? [last, ...events] : events)),
    [
      'R2: a subscription gives the stored events first, then new ones, without a gap or a duplicate',
      'R2: many subscribers that come and go each see every event of many writers, in order',
      'R2: each of several subscriptions gets the events of its own filter, from its own start',
    ],
  ],
  [
    'passes over an event of a subscription now and then',
    subscribing((events) => events.filter(({ revision }) => revision % 17 !== 16)),
    [
      'R2: a subscription gives the stored events first, then new ones, without a gap or a duplicate',
      'R4: a slow consumer gets every event and does not slow down others',
    ],
  ],
  [
    'swaps events that come together',
    subscribing((events) => events.toReversed()),
    [
      'R2: a subscription gives the stored events first, then new ones, without a gap or a duplicate',
      'R2: many subscribers that come and go each see every event of many writers, in order',
      'R3: the filters of a subscription select what a plain filter selects, before and after it has caught up',
    ],
  ],
  [
    'ends a subscription when it has caught up',
    (adapter) => ({
      ...adapter,
      async *subscribe(request) {
        for await (const page of adapter.subscribe(request)) {
          yield page
          if (page.isCaughtUp) return
        }
      },
    }),
    [
      'R2: a subscription gives the stored events first, then new ones, without a gap or a duplicate',
      'R3: a subscription to an empty store has caught up at once and gets the first event',
      'R3: one event reaches a hundred waiting subscribers',
    ],
  ],
  [
    'misses what is appended between catching up and being live',
    (adapter, data) => ({
      ...adapter,
      async *subscribe(request) {
        for (let after = request.after; !request.signal.aborted;) {
          const wake = new Promise<void>((resolve) => {
            setTimeout(resolve, 5)
          })
          for await (const page of adapter.subscribe({ ...request, after })) {
            yield page
            after = page.through
            if (page.isCaughtUp) break
          }
          await wake
          const last = data.log.at(-1)
          if (last && Math.random() < 0.5) after = last
        }
      },
    }),
    ['R2: many subscribers that come and go each see every event of many writers, in order'],
  ],
  [
    'never says that a subscription has caught up',
    (adapter) => ({
      ...adapter,
      async *subscribe(request) {
        for await (const page of adapter.subscribe(request)) yield { ...page, isCaughtUp: false }
      },
    }),
    ['R3: a subscription has caught up once its consumer has taken every stored event'],
  ],
  [
    'never says that it has caught up',
    (adapter) => ({
      ...adapter,
      async *subscribe(request) {
        for await (const page of adapter.subscribe(request)) yield { ...page, isCaughtUp: false }
      },
    }),
    ['R3: a subscription has caught up once its consumer has taken every stored event'],
  ],
  [
    'leaves the place where it was as long as nothing that was asked for comes',
    (adapter) => ({
      ...adapter,
      async *subscribe(request) {
        let through = request.after
        for await (const page of adapter.subscribe(request)) {
          through = page.events.at(-1) ?? through
          yield { ...page, through }
        }
      },
    }),
    ['R3: the checkpoint of a subscription passes a long stretch of events that its filter leaves out'],
  ],
  [
    'takes a place of another history for one of its own',
    (adapter, data) => ({
      ...adapter,
      idAt: async (position) => (await adapter.idAt(position)) ?? crypto.randomUUID(),
      subscribe: (request) => {
        const known = data.log.find(({ position }) => position === request.after?.position)
        return adapter.subscribe({ ...request, after: known })
      },
    }),
    ['P1: subscribing from a checkpoint or position that is not in this history fails at once'],
  ],
  [
    'goes on waiting when a subscription is over',
    (adapter) => ({
      ...adapter,
      subscribe: (request) => adapter.subscribe({ ...request, signal: new AbortController().signal }),
    }),
    ['R4: return ends a subscription without an error, whether it waits or not'],
  ],
  [
    'keeps snapshots without looking for their events',
    (adapter, data) => ({
      ...adapter,
      snapshots: {
        ...adapter.snapshots!,
        put: ({ stream, name, ...snapshot }) => {
          data.snapshots.set(stream, new Map([[name, snapshot]]))
          return Promise.resolve(true)
        },
      },
    }),
    ['H1: a snapshot is kept only if its event is in the stream'],
  ],
  [
    'keeps snapshots in the log',
    (adapter) => ({
      ...adapter,
      snapshots: {
        ...adapter.snapshots!,
        put: async (snapshot) => {
          const event = { stream: 'snapshots', id: crypto.randomUUID(), type: 'Kept', version: 1 }
          await adapter.append({
            conditions: [{ stream: 'snapshots', expected: 'any' }],
            events: [{ ...event, data: '{}', metadata: '{}' }],
            keys: [],
            ids: 'made',
          })
          return adapter.snapshots!.put(snapshot)
        },
      },
    }),
    ['H1: snapshots are in no stream, no position and no head of the store'],
  ],
  [
    'loses snapshots',
    (adapter) => ({
      ...adapter,
      snapshots: { ...adapter.snapshots!, get: () => Promise.resolve(undefined) },
    }),
    [
      'H1: a snapshot is written when enough events were appended, and used',
      'H1: a load that had to fold many events writes a snapshot',
    ],
  ],
  [
    'lets a deleted stream begin again',
    erasing(async (erase, request, data) => {
      const verdict = await erase(request)
      if (request.before === undefined) {
        data.deleted.delete(request.stream)
        data.streams.delete(request.stream)
      }
      return verdict
    }),
    [
      'E3: a deleted stream is deleted for good, by every call that names it',
      'E3: no append that races a deletion brings the stream back',
    ],
  ],
  [
    'erases whatever the caller expects',
    erasing((erase, request) => erase({ ...request, expected: 'any' })),
    ['E4: an erasure that was decided on an earlier head is refused'],
  ],
  [
    'keeps erased events in the log',
    erasing(async (erase, request, data) => {
      const before = [...data.log]
      const verdict = await erase(request)
      before.forEach((event, i) => (data.log[i] = event))
      return verdict
    }),
    ['E4: erased events are gone from the log at once, those around them are not, and filters find them'],
  ],
  [
    'tells of erasures under another type',
    erasing((erase, request) => erase({ ...request, notice: { ...request.notice, type: 'Gone' } })),
    ['E4: subscribers are told of erasures, in the order of the store, with who asked for them'],
  ],
  [
    'keeps snapshots of erased events',
    erasing(async (erase, request, data) => {
      const kept = new Map(data.snapshots.get(request.stream))
      const verdict = await erase(request)
      data.snapshots.set(request.stream, kept)
      return verdict
    }),
    ['E4: a snapshot goes with its event, and none is kept of an event that was erased'],
  ],
  [
    'gives imported events the present time',
    appending((append, request) =>
      append({ ...request, events: request.events.map(({ time: _, ...event }) => event) }),
    ),
    [
      'H2: an import keeps ids, times, versions and metadata, and a repeated key is still a repeat',
      'H2: a live subscriber gets imported events as they were recorded',
    ],
  ],
  [
    'exports no keys',
    (adapter) => ({ ...adapter, keys: () => pagesOf([]) }),
    ['H2: what a store exports, another store imports, with its keys'],
  ],
  [
    'shows what stands in the place of revisions that were skipped',
    (adapter) => ({
      ...adapter,
      skip: (request) =>
        skipByAppending((append) => {
          const shown = { version: 1, type: 'Skipped', data: '{}', metadata: '{}' }
          return adapter.append({ ...append, events: append.events.map((place) => ({ ...place, ...shown })) })
        }, request),
    }),
    ['H2: a copy keeps streams without their beginning as they are, live and in both directions'],
  ],
  [
    'declares less than the suite was told',
    (adapter) => ({ ...adapter, capabilities: { ...adapter.capabilities, keys: false } }),
    ['F1: a store declares the capabilities that the suite was told, by which it skips cases'],
  ],
]

const sound = casesOf((adapter) => adapter)

describe('the contract suite', () => {
  test('names each case by the promise that it proves, once', () => {
    const names = [...sound.keys()]
    expect(names.length).toBeGreaterThan(150)
    for (const name of names) expect(name).toMatch(/^(W[1-7]|R[1-6]|E[1-4]|H[12]|P[1-5]|F[1-4]): /)
    const promises = [
      'W1',
      'W2',
      'W3',
      'W4',
      'W5',
      'W6',
      'W7',
      'R1',
      'R2',
      'R3',
      'R4',
      'R5',
      'R6',
      'E1',
      'E3',
      'E4',
      'H1',
      'H2',
      'P1',
      'F1',
      'F3',
      'F4',
    ]
    for (const promise of promises) {
      expect(
        names.some((name) => name.startsWith(`${promise}: `)),
        promise,
      ).toBe(true)
    }
  })

  test('skips what needs a capability that the subject does not declare, and says so', () => {
    const skipped: [string, string][] = []
    const kept: string[] = []
    const subject = {
      name: 'less',
      capabilities: { keys: false, severalStreams: false },
      create: fresh((a) => a),
    }
    const runner = {
      describe: (_: string, body: () => void) => body(),
      test: (name: string) => void kept.push(name),
      skip: (name: string, reason: string) => void skipped.push([name, reason]),
    }
    storeContract(subject, runner)
    expect(kept.length + skipped.length).toBe(sound.size)
    expect(Object.fromEntries(skipped)).toMatchObject({
      "W4: a key used again appends nothing and returns the first append's result":
        'the store declares no keys',
      "W3: exactly one of two appends that each read the other's stream wins":
        'the store declares no severalStreams',
    })
    kept.length = 0
    storeContract(subject, { describe: runner.describe, test: runner.test })
    expect(kept.filter((name) => name.includes('(skipped: the store declares no '))).toHaveLength(
      skipped.length,
    )
  })

  describe.each(breaks)('notices an adapter that %s', (_, change, names) => {
    test.each(names)('%s', async (name) => {
      const [body, soundBody] = [casesOf(change).get(name), sound.get(name)]
      if (!body || !soundBody) throw new Error(`there is no such case: ${name}`)
      await soundBody()
      // What comes between two steps only now and then may need more than one attempt.
      const attempt = () =>
        unlessStalled(body()).then(
          () => false,
          () => true,
        )
      let hasNoticed = false
      for (let attempts = 0; !hasNoticed && attempts < 10; attempts++) hasNoticed = await attempt()
      expect(hasNoticed).toBe(true)
    })
  })
})

/** The cases of the suite over a memory store that was changed, by name. */
function casesOf(change: Break): Map<string, () => Promise<void>> {
  const cases = new Map<string, () => Promise<void>>()
  storeContract(
    { name: 'memory', create: fresh(change) },
    {
      describe: (_, body) => body(),
      test: (name, body) => {
        if (cases.has(name)) throw new Error(`twice: ${name}`)
        cases.set(name, body)
      },
    },
  )
  return cases
}

function fresh(change: Break) {
  return async () => {
    const data = new MemoryData()
    return { connect: async () => counted(change(memoryAdapter(data), data)), destroy: async () => {} }
  }
}

/** Calls of adapters so far, and pages that they gave. */
let activity = 0

/** Counts what is asked of an adapter, and what it gives. */
function counted(adapter: StoreAdapter): StoreAdapter {
  const counting = (value: unknown): unknown => {
    if (typeof value !== 'function') return value
    return (...args: unknown[]) => {
      activity++
      const result: unknown = Reflect.apply(value, adapter, args)
      const isIterable = typeof result === 'object' && result !== null && Symbol.asyncIterator in result
      return isIterable ? watched(result as AsyncIterable<unknown>) : result
    }
  }
  return new Proxy(adapter, { get: (target, name) => counting(Reflect.get(target, name)) })
}

async function* watched(pages: AsyncIterable<unknown>): AsyncIterable<unknown> {
  for await (const page of pages) {
    activity++
    yield page
  }
}

/**
 * A case that waits for ever has noticed too. It does so if its adapters are asked for nothing, and give nothing, while
 * timers fire so many times: a memory store waits for nothing else. So has one that goes on asking for ever.
 */
async function unlessStalled(call: Promise<void>): Promise<void> {
  let isOver = false
  const stalled = (async () => {
    for (
      let [quiet, before, ticks] = [0, activity, 0];
      quiet < 100 && ticks < 4_000 && !isOver;
      quiet++, ticks++
    ) {
      await new Promise((resolve) => setTimeout(resolve, 2))
      if (activity !== before) quiet = 0
      before = activity
    }
    if (!isOver) throw new Error('the case waits for ever')
  })()
  await Promise.race([call, stalled]).finally(() => (isOver = true))
}

function appending(
  change: (append: StoreAdapter['append'], request: AppendRequest) => Promise<AppendVerdict>,
): Break {
  return (adapter) => ({
    ...adapter,
    append: (request, signal) => change((changed) => adapter.append(changed, signal), request),
  })
}

function reading(change: (page: readonly StoredEvent[], n: number) => readonly StoredEvent[]): Break {
  const changed = async function* (pages: AsyncIterable<readonly StoredEvent[]>) {
    let n = 0
    for await (const page of pages) yield change(page, n++)
  }
  return (adapter) => ({
    ...adapter,
    read: (request) => changed(adapter.read(request)),
    readAll: (request) => changed(adapter.readAll(request)),
  })
}

/** @param change of the events of a page, of which `last` is the last one of the page before. */
function subscribing(
  change: (events: readonly StoredEvent[], last: StoredEvent | undefined) => readonly StoredEvent[],
): Break {
  return (adapter) => ({
    ...adapter,
    async *subscribe(request) {
      let last: StoredEvent | undefined
      for await (const page of adapter.subscribe(request)) {
        yield { ...page, events: page.events.length === 0 ? [] : change(page.events, last) }
        last = page.events.at(-1) ?? last
      }
    },
  })
}

function changingData(change: (data: string) => string): Break {
  return appending((append, request) =>
    append({ ...request, events: request.events.map((event) => ({ ...event, data: change(event.data) })) }),
  )
}

function renamingPositions(rename: (position: string) => string): Break {
  return (adapter, data) => {
    const renamed = reading((page) => page.map((event) => ({ ...event, position: rename(event.position) })))(
      adapter,
      data,
    )
    return {
      ...renamed,
      append: async (request) => {
        const verdict = await adapter.append(request)
        return verdict.kind === 'appended'
          ? { ...verdict, positions: verdict.positions.map(rename) }
          : verdict
      },
    }
  }
}

/** What an append over several streams answers, of the answers for each of its streams. */
function joined(request: AppendRequest, verdicts: readonly AppendVerdict[]): AppendVerdict {
  const taken = request.conditions.map(() => 0)
  const revisions: number[] = []
  const positions: string[] = []
  for (const { stream } of request.events) {
    const i = request.conditions.findIndex((condition) => condition.stream === stream)
    const verdict = verdicts[i]
    if (verdict?.kind !== 'appended') continue
    revisions.push(verdict.revisions[taken[i]!]!)
    positions.push(verdict.positions[taken[i]!]!)
    taken[i]!++
  }
  const appended = verdicts.flatMap((verdict) => (verdict.kind === 'appended' ? [verdict] : []))
  return {
    kind: 'appended',
    revisions,
    positions,
    time: appended[0]!.time,
    heads: appended.map(({ heads }) => heads[0]!),
  }
}
