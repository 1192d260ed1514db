import type { AppendRequest, AppendVerdict, StoreAdapter, StoredEvent } from 'mneme/adapter'
import { storeContract } from 'mneme/testing'
import { describe, expect, test } from 'vitest'

import { conflictOf } from '../../src/adapter/append-rules.ts'
import { memoryAdapter, MemoryData } from '../../src/stores/memory/adapter.ts'

/** Makes an adapter that breaks a promise, over data that others share. */
type Break = (adapter: StoreAdapter, data: MemoryData) => StoreAdapter

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
      'W2: a stream that is only read is a condition too, in every kind of expectation',
      'W3: of two appends that each read the other stream exactly one wins',
      'W3: of two commands that each count on the other account exactly one is executed',
      'W3: a torn read of two streams is detected by an empty append',
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
      'W1: one stream that stands elsewhere than expected refuses all, whichever it is',
      'W1: of 64 appends at once over two streams each, every third conflicting on its second, none is half written',
      'R1: interleaved streams keep the order given, adjacent in the order of the store',
    ],
  ],
  [
    'checks the conditions, then appends a moment later',
    (adapter, data) => ({
      ...adapter,
      append: async (request) => {
        const heads = await Promise.all(request.conditions.map(({ stream }) => adapter.head(stream)))
        const conflict = conflictOf(request, heads)
        if (conflict) return conflict
        await tick()
        const conditions = request.conditions.map((one) => ({ ...one, expected: 'any' as const }))
        return memoryAdapter(data).append({ ...request, conditions })
      },
    }),
    [
      'W2: of 20 concurrent creations exactly one wins',
      'W2: of 20 concurrent appends at one revision exactly one wins',
      'W3: of two appends that each read the other stream exactly one wins',
      'W3: of 64 that withdraw at once as many succeed as the balance allows, over 2 connections',
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
              ? { ...condition, expected: await adapter.head(condition.stream) }
              : condition,
          ),
        )
        await tick()
        return adapter.append({ ...request, conditions })
      },
    }),
    ['W2: any never conflicts, and gets revisions without a gap'],
  ],
  [
    'checks nothing where there are no events',
    appending((append, request) => {
      if (request.events.length > 0) return append(request)
      const conditions = request.conditions.map((one) => ({ ...one, expected: 'any' as const }))
      return append({ ...request, conditions })
    }),
    [
      'W2: every kind of expectation is checked, by an append and by an empty one',
      'W2: an empty append checks several streams',
      'W3: a rejection that stands on an old state is decided anew',
      'W3: a thrown error that stands on several streams, one of them old, is decided anew',
      'W3: a torn read of two streams is never reported',
    ],
  ],
  [
    'forgets keys',
    appending((append, request) => append({ ...request, keys: [], ids: 'made' })),
    [
      'W4: a key used again appends nothing and gives what the first append gave',
      'W4: one key used by 20 at once, expecting any, is one append and 20 equal results',
      'W4: the same key with another input is an error',
      'W4: one key executed by 20 at once gives 20 equal results and one append',
    ],
  ],
  [
    'forgets keys when it is opened again',
    (adapter, data) => {
      data.keys.clear()
      return adapter
    },
    ['W4: a key is known after 10,000 other events and a restart'],
  ],
  [
    'looks at the expectation before the key',
    (adapter) => ({
      ...adapter,
      append: async (request) => {
        const heads = await Promise.all(request.conditions.map(({ stream }) => adapter.head(stream)))
        return conflictOf(request, heads) ?? adapter.append(request)
      },
    }),
    [
      'W4: a key answers before the expectation is looked at',
      'W4: the same append again, expecting none, is a success and one copy',
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
            data.keys.set(key, { key, fingerprint, events: [], heads: [] })
        }
        return verdict
      },
    }),
    ['W4: the key of an append that conflicts is not kept'],
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
      'W4: the same append again, expecting none, is a success and one copy',
      'W4: an append whose answer is lost after its commit, expecting 0, is one copy when repeated',
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
      'W4: the same append by 10 at once, expecting none, is one copy and 10 successes',
      'W4: the same append after others and a restart, expecting 1, answers as the first did',
    ],
  ],
  [
    'reads all streams in another order than that of their events',
    reading((page) => [...page].sort((a, b) => (a.stream < b.stream ? -1 : a.stream > b.stream ? 1 : 0))),
    [
      'R1: interleaved streams keep the order given, adjacent in the order of the store',
      'R1: positions compare with <, and are text that survives JSON',
    ],
  ],
  [
    'skips an event where a page begins',
    reading((page, n) => (n > 0 ? page.slice(1) : page)),
    [
      'R1: nothing is lost or doubled where a page ends',
      'R1: nothing is lost or doubled where a page ends, with and without a filter',
    ],
  ],
  [
    'ignores the limit',
    (adapter) => ({ ...adapter, read: (request) => adapter.read({ ...request, limit: undefined }) }),
    [
      'R1: a stream is read forwards and backwards, from any revision, with any limit',
      'R1: the last event alone',
      'R4: a reader with a limit fetches no more than it',
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
    ['R3: streams, categories, types and limits choose what a plain filter chooses'],
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
    ['R4: a stream is read page by page, as its reader comes along'],
  ],
  [
    'gives positions that do not sort as text',
    renamingPositions((position) => String(Number(position))),
    ['R1: positions compare with <, and are text that survives JSON'],
  ],
  [
    'is another store for each connection',
    (adapter) => {
      const identity = crypto.randomUUID()
      return { ...adapter, identity: async () => identity }
    },
    ['R1: a store is known by a UUID, the same for every connection and after a restart'],
  ],
  [
    'acknowledges what it has not kept',
    (adapter, data) => {
      for (const streams of [data.log, ...data.streams.values()]) streams.length = 0
      return adapter
    },
    ['W5: what was acknowledged is there after a restart, the same in everything'],
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
      head: (stream) => adapter.head(stream.toLowerCase()),
    }),
    ['W7: streams are told apart by every character of their names'],
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
    ['W1: each of 64 appends at once has its own verdict, where every third conflicts'],
  ],
  [
    'gives an event of a subscription twice where a page ends',
    subscribing((events, last) => (last ? [last, ...events] : events)),
    [
      'R2: what is there comes first, then what is appended, without a seam',
      'R2: each of many subscribers that come and go sees the log of many writers',
      'R2: a subscriber beside others sees what it asked for, from where it asked',
    ],
  ],
  [
    'passes over an event of a subscription now and then',
    subscribing((events) => events.filter(({ revision }) => revision % 17 !== 16)),
    [
      'R2: what is there comes first, then what is appended, without a seam',
      'R4: a slow consumer is given all of it, and holds up nobody',
    ],
  ],
  [
    'swaps events that come together',
    subscribing((events) => events.toReversed()),
    [
      'R2: what is there comes first, then what is appended, without a seam',
      'R2: each of many subscribers that come and go sees the log of many writers',
      'R3: filters choose what a plain filter chooses, before and after it has caught up',
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
      'R2: what is there comes first, then what is appended, without a seam',
      'R3: an empty store is caught up with, and its first event comes',
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
    ['R2: each of many subscribers that come and go sees the log of many writers'],
  ],
  [
    'never says that a subscription has caught up',
    (adapter) => ({
      ...adapter,
      async *subscribe(request) {
        for await (const page of adapter.subscribe(request)) yield { ...page, isCaughtUp: false }
      },
    }),
    ['R3: it says that it has caught up when its consumer has taken all there is'],
  ],
  [
    'says that it has caught up before it has',
    (adapter) => ({
      ...adapter,
      async *subscribe(request) {
        yield { events: [], through: request.after, isCaughtUp: true }
        yield* adapter.subscribe(request)
      },
    }),
    ['R3: it says that it has caught up when its consumer has taken all there is'],
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
    ['R3: a long stretch of what was not asked for is passed, and is not looked through again'],
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
    ['P1: a checkpoint or a position that this history has not is an error at once'],
  ],
  [
    'goes on waiting when a subscription is over',
    (adapter) => ({
      ...adapter,
      subscribe: (request) => adapter.subscribe({ ...request, signal: new AbortController().signal }),
    }),
    ['R4: return ends a subscription, waiting or not, and is no error'],
  ],
  [
    'declares less than the suite was told',
    (adapter) => ({ ...adapter, capabilities: { ...adapter.capabilities, keys: false } }),
    ['F1: a store declares what it can do as the suite was told, which skips by that'],
  ],
]

const sound = casesOf((adapter) => adapter)

describe('the contract suite', () => {
  test('names each case by the promise that it proves, once', () => {
    const names = [...sound.keys()]
    expect(names.length).toBeGreaterThan(150)
    for (const name of names) expect(name).toMatch(/^(W[1-7]|R[1-4]|P[1-5]|F[1-4]): /)
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
      'W4: a key used again appends nothing and gives what the first append gave':
        'the store declares no keys',
      'W3: of two appends that each read the other stream exactly one wins':
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
      await expect(within(body())).rejects.toThrow()
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
    return { connect: async () => change(memoryAdapter(data), data), destroy: async () => {} }
  }
}

/** A case that never ends has noticed too. */
async function within(call: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('never ends')), 4_000)
  })
  await Promise.race([call, late]).finally(() => clearTimeout(timer))
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
