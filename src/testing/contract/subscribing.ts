import assert from 'node:assert/strict'
import { defineAggregate } from '../../model/aggregate.ts'
import {
  CheckpointFromAnotherStoreError,
  ConflictError,
  HistoryRewoundError,
  InvalidArgumentError,
  StoreClosedError,
} from '../../base/errors.ts'
import { event } from '../../model/event-spec.ts'
import type { Recorded } from '../../model/event.ts'
import type { EventStore, SubscribeOptions, Subscription } from '../../store/event-store.ts'
import { drain, everything, failureOf, nextTurn, race, thrownBy } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happened, happenings, idsOf, numbersOf, positionsOf, upTo } from './sample-events.ts'

/** R2, R3 and R4 of events as they come: each once, in order, whatever writers do. */
export function subscribing(prove: Prove): void {
  prove(
    'R2: a subscription gives the stored events first, then new ones, without a gap or a duplicate',
    async (store, realm) => {
      await store.append({ stream: 'a', events: happenings(700) })
      const subscriber = follow(store.subscribe())
      const other = await realm.open()
      for (const i of upTo(30)) {
        await (i % 2 === 0 ? store : other).append({ stream: `s-${i % 3}`, events: happenings(1 + (i % 3)) })
      }
      const log = await everything(store)
      await subscriber.gets(log)
      await subscriber.stop()
    },
  )

  prove(
    'R2: a subscription gives events of all sizes and names as they were appended, live and later',
    async (store, realm) => {
      const early = follow(store.subscribe())
      const elsewhere = follow((await realm.open()).subscribe())
      const streams = ['ü-%s', '水-1', `o'clock-"1"`, String.raw`a\\b-1`, 'no category', 'ab-1', 'abc-1']
      const texts = [0, 1, 900, ...upTo(8).map((i) => 960 + 16 * i), 2_000, 70_000].map((size) =>
        'x'.repeat(size),
      )
      const unusual = ['\u0000\u001f\u007f', '\ud800', '"\\', '水'.repeat(340), 'é😀']
      for (const [i, text] of [...texts, ...unusual, ...texts].entries()) {
        const data = { n: i, text, ['\u001f']: [text.slice(0, 3)] }
        const stream = streams[i % streams.length]!
        await store.append(
          { stream, events: [{ type: `Thing.${i}`, data }, happened(i)] },
          { metadata: { actor: text.slice(0, 900) } },
        )
      }
      const log = await everything(store)
      await early.gets(log)
      await elsewhere.gets(log)
      const late = follow(store.subscribe())
      await late.gets(log)
      for (const follower of [early, elsewhere, late]) await follower.stop()
    },
  )

  prove('W6: a subscriber that changes an event changes it for no other subscriber', async (store) => {
    const nested = { type: 'Thing.Happened', data: { list: [{ n: 1 }], plain: 1 } }
    await store.append({ stream: 'a', events: [nested] }, { metadata: { actor: 'a' } })
    const followers = upTo(3).map(() => follow(store.subscribe()))
    for (const follower of followers) await follower.first(1)
    await store.append({ stream: 'a', events: [nested] }, { metadata: { actor: 'b' } })
    for (const follower of followers) {
      for (const event of await follower.first(2)) {
        const { data, metadata } = event as { data: typeof nested.data; metadata: object }
        for (const part of [event, data, data.list, data.list[0], metadata]) {
          assert.throws(() => Object.assign(part!, { n: 2, 0: 2 }), TypeError)
        }
      }
      assert.deepEqual(await follower.stop(), await everything(store))
    }
  })

  prove(
    'R2: many subscribers that come and go each see every event of many writers, in order',
    async (store, realm) => {
      const stores = [store, ...(await Promise.all(upTo(3).map(() => realm.open())))]
      const random = seeded(7)
      const over = new AbortController()
      const writers = upTo(10).map(async (writer) => {
        for (const i of upTo(25)) {
          const target = stores[writer % 4]!
          const stream = `s-${Math.floor(random() * 6)}`
          const events = happenings(1 + Math.floor(random() * 3), i)
          // Some expected revisions are wrong, and those appends write nothing.
          const expected = random() < 0.3 ? Math.floor(random() * 20) : 'any'
          await race([target.append({ stream, events, expected })], ConflictError)
          for (const _ of upTo(Math.floor(random() * 4))) await nextTurn()
        }
      })
      const seen: { after: string | undefined; events: readonly Recorded[] }[] = []
      const subscribers = upTo(10).map(async (i) => {
        while (!over.signal.aborted) {
          const known = await everything(stores[(i + 1) % 4]!)
          const from = random() < 0.3 ? 0 : Math.floor(random() * known.length)
          const after = known[from - 1]?.position
          // Most of them leave a while after they have caught up.
          const wanted = Math.ceil((known.length - from) * random() * 1.5) + Math.floor(random() * 20)
          const subscription = stores[i % 4]!.subscribe({ from: after ?? 'start', signal: over.signal })
          seen.push({ after, events: await take(subscription, wanted) })
          await nextTurn()
        }
      })
      const last = follow(stores[3]!.subscribe())
      await Promise.all(writers)
      // Ends the subscriptions that wait for events which nobody will write.
      over.abort()
      await Promise.all(subscribers)
      const log = await everything(store)
      const ids = idsOf(log)
      await last.gets(log)
      await last.stop()
      const positions = positionsOf(log)
      for (const { after, events } of seen) {
        const start = after === undefined ? 0 : positions.indexOf(after) + 1
        assert.deepEqual(idsOf(events), ids.slice(start, start + events.length))
      }
    },
  )

  prove(
    'R2: pages of a subscription hold every event once, in order, and a checkpoint between two pages loses none',
    async (store, realm) => {
      for (const i of upTo(4)) await store.append({ stream: `s-${i % 2}`, events: happenings(7) })
      const other = await realm.open()
      const seen: Recorded[] = []
      let from: SubscribeOptions['from'] = 'start'
      for (const round of upTo(3)) {
        const subscription: Subscription = (round % 2 === 0 ? store : other).subscribe({ from })
        const pages = subscription.pages({ limit: 5 })
        const wanted = seen.length + 14
        while (seen.length < wanted) {
          const { value: page } = await pages.next()
          assert.ok(page && page.length > 0 && page.length <= 5, `a page of ${page?.length} events`)
          seen.push(...page)
          const { position, id } = page.at(-1)!
          assert.deepEqual(subscription.checkpoint, { store: await store.identity(), position, id })
          // Then they come live.
          if (seen.length > 20)
            await other.append({ stream: 's-1', events: happenings(1 + (seen.length % 3)) })
        }
        from = subscription.checkpoint ?? 'start'
        await pages.return?.()
        assert.deepEqual(await pages.next(), { done: true, value: undefined })
        assert.deepEqual(await subscription.next(), { done: true, value: undefined })
      }
      assert.deepEqual(seen, (await everything(store)).slice(0, seen.length))
    },
  )

  prove(
    'R2: what a subscription has given in a page it does not give again event by event, nor the reverse',
    async (store) => {
      await store.append({ stream: 'a', events: happenings(10) })
      const log = await everything(store)
      const subscription = store.subscribe()
      const pages = subscription.pages({ limit: 4 })
      const seen: Recorded[] = []
      while (seen.length < 10) {
        const { value: event } = await subscription.next()
        seen.push(event!)
        if (seen.length === 10) break
        // Asked for at once: each gets what comes next.
        const both = await Promise.all([pages.next(), seen.length < 5 ? pages.next() : undefined])
        for (const result of both) seen.push(...(result?.value ?? []))
      }
      assert.deepEqual(seen, log)
      const caughtUp = subscription.caughtUp()
      const next = pages.next()
      await caughtUp
      await subscription.return?.()
      assert.deepEqual(await next, { done: true, value: undefined })
      for (const limit of [0, 1.5, '5' as never]) {
        const error = await failureOf(InvalidArgumentError, () => subscription.pages({ limit }))
        assert.equal(error.argument, 'limit')
      }
    },
  )

  prove(
    'R2: a subscription continues from its checkpoint after an interruption between any two events',
    async (store, realm) => {
      for (const i of upTo(6)) await store.append({ stream: `s-${i % 2}`, events: happenings(3) })
      const log = await everything(store)
      let from: SubscribeOptions['from'] = 'start'
      const seen: Recorded[] = []
      let reader = store
      while (seen.length < log.length) {
        const subscription: Subscription = reader.subscribe({ from })
        for await (const event of subscription) {
          seen.push(event)
          break
        }
        from = JSON.parse(JSON.stringify(subscription.checkpoint)) as SubscribeOptions['from']
        if (seen.length % 7 === 0) reader = await realm.restart()
      }
      assert.deepEqual(seen, log)
      assert.deepEqual(from, {
        store: await reader.identity(),
        position: log.at(-1)?.position,
        id: log.at(-1)?.id,
      })
    },
  )

  prove(
    'R2: each of several subscriptions gets the events of its own filter, from its own start',
    async (store, realm) => {
      await store.append({ stream: 'a-1', events: happenings(20) })
      const other = await realm.open()
      const first = follow(store.subscribe())
      await first.first(20)
      const others = [
        { from: 'end' },
        { from: (await everything(store))[4]!.position },
        { categories: ['b'] },
        { streams: ['a-1'], types: ['Other'] },
      ] as const
      const rest = others.map((options) => follow(store.subscribe(options)))
      await Promise.all(rest.map(({ subscription }) => subscription.caughtUp()))
      for (const i of upTo(10)) {
        await other.append({ stream: 'a-1', events: [happened(100 + i), { type: 'Other', data: { n: i } }] })
        await store.append({ stream: 'b-1', events: [happened(200 + i)] })
      }
      const log = await everything(store)
      const live = log.slice(20)
      const expected = [
        live,
        log.slice(5),
        live.filter(({ stream }) => stream === 'b-1'),
        live.filter(({ type }) => type === 'Other'),
      ]
      for (const [i, subscriber] of rest.entries()) {
        await subscriber.gets(expected[i]!)
        await subscriber.subscription.caughtUp()
        assert.equal((await subscriber.stop()).length, expected[i]!.length)
      }
      await first.gets(log)
      await first.stop()
    },
  )

  prove(
    'R3: the filters of a subscription select what a plain filter selects, before and after it has caught up',
    async (store) => {
      const Door = defineAggregate({
        name: 'Door',
        events: { Opened: event().formerly('Door.Unlocked'), Closed: event() },
        initial: () => ({}),
        apply: { Opened: () => ({}), Closed: () => ({}) },
      })
      const write = async (round: number) => {
        for (const [i, stream] of ['Door-1', 'Door-2', 'Do-or', 'plain', 'Lamp-1'].entries()) {
          const type = ['Door.Opened', 'Door.Closed', 'Door.Unlocked', 'Other'][(i + round) % 4]!
          await store.append({ stream, events: [{ type, data: { round } }] })
        }
      }
      for (const round of upTo(4)) await write(round)
      const chosen: readonly [SubscribeOptions, (event: Recorded) => boolean][] = [
        [{ streams: [Door('1'), 'plain'] }, ({ stream }) => ['Door-1', 'plain'].includes(stream)],
        [{ categories: ['Door'] }, ({ stream }) => stream.startsWith('Door-')],
        [{ types: [Door.events.Opened] }, ({ type }) => ['Door.Opened', 'Door.Unlocked'].includes(type)],
        [
          { categories: ['Lamp'], streams: ['Do-or'], types: ['Other', 'Door.Closed'] },
          ({ stream, type }) =>
            ['Do-or', 'Lamp-1'].includes(stream) && ['Other', 'Door.Closed'].includes(type),
        ],
      ]
      const subscribers = chosen.map(([options]) => follow(store.subscribe(options)))
      await Promise.all(subscribers.map(({ subscription }) => subscription.caughtUp()))
      for (const round of upTo(4)) await write(round)
      const log = await everything(store)
      for (const [i, [, matches]] of chosen.entries()) {
        const wanted = log.filter(matches)
        await subscribers[i]!.gets(wanted)
        await subscribers[i]!.stop()
      }
      const none = follow(store.subscribe({ streams: [], types: ['Door.Opened'] }))
      await none.subscription.caughtUp()
      assert.deepEqual(await none.stop(), [])
    },
  )

  prove(
    'R3: the checkpoint of a subscription passes a long stretch of events that its filter leaves out',
    async (store) => {
      await store.append({ stream: 'few-1', events: [happened(0)] })
      for (const i of upTo(5)) await store.append({ stream: `many-${i}`, events: happenings(2_000) })
      const subscriber = follow(store.subscribe({ categories: ['few'] }))
      await subscriber.subscription.caughtUp()
      const passed = subscriber.subscription.checkpoint
      assert.ok(passed !== undefined && passed.position > (await subscriber.first(1))[0]!.position)
      await store.append({ stream: 'many-0', events: happenings(10) })
      await store.append({ stream: 'few-2', events: [happened(1)] })
      assert.deepEqual(numbersOf(await subscriber.first(2)), [0, 1])
      await subscriber.stop()
      const again = follow(store.subscribe({ categories: ['few'], from: passed }))
      assert.deepEqual(numbersOf(await again.first(1)), [1])
      await again.stop()
    },
  )

  prove('R3: a subscription has caught up once its consumer has taken every stored event', async (store) => {
    await store.append({ stream: 'a', events: happenings(3) })
    const subscription = store.subscribe()
    let isCaughtUp = false
    void subscription.caughtUp().then(() => (isCaughtUp = true))
    for (const n of upTo(3)) {
      assert.deepEqual(numbersOf([(await subscription.next()).value!]), [n])
      await everything(store)
      await nextTurn()
      assert.equal(isCaughtUp, false)
    }
    const next = subscription.next()
    await subscription.caughtUp()
    assert.equal(isCaughtUp, true)
    await store.append({ stream: 'a', events: [happened(3)] })
    assert.equal((await next).value?.revision, 3)
    await subscription.return?.()
    await failureOf(StoreClosedError, () => subscription.caughtUp())
  })

  prove(
    'R3: caughtUp waits for every event that was committed before it was called',
    async (store, realm) => {
      const other = await realm.open()
      const follower = follow(store.subscribe({ categories: ['a'] }))
      await follower.subscription.caughtUp()
      for (const n of upTo(30)) {
        await (n % 2 === 0 ? store : other).append({ stream: 'a-1', events: [happened(n)] })
        // Also if the last event is one that the filter leaves out.
        if (n % 3 === 0) await store.append({ stream: 'b-1', events: happenings(3) })
        await follower.subscription.caughtUp()
        assert.deepEqual(numbersOf(follower.events), upTo(n + 1))
      }
      await store.append({ stream: 'b-1', events: happenings(3) })
      await follower.subscription.caughtUp()
      await follower.stop()
    },
  )

  prove(
    'R3: a subscription to an empty store has caught up at once and gets the first event',
    async (store, realm) => {
      const subscribers = (['start', 'end'] as const).map((from) => follow(store.subscribe({ from })))
      await Promise.all(subscribers.map(({ subscription }) => subscription.caughtUp()))
      for (const { subscription } of subscribers) assert.equal(subscription.checkpoint, undefined)
      await (await realm.open()).append({ stream: 'a', events: [happened(0)] })
      for (const subscriber of subscribers) {
        assert.deepEqual(numbersOf(await subscriber.first(1)), [0])
        await subscriber.stop()
      }
    },
  )

  prove('R3: one event reaches a hundred waiting subscribers', async (store, realm) => {
    await store.append({ stream: 'a', events: happenings(3) })
    const other = await realm.open()
    const subscribers = upTo(100).map((i) => follow((i % 2 === 0 ? store : other).subscribe()))
    await Promise.all(subscribers.map(({ subscription }) => subscription.caughtUp()))
    await store.append({ stream: 'a', events: [happened(3)] })
    for (const subscriber of subscribers) assert.deepEqual(numbersOf(await subscriber.first(4)), upTo(4))
    await Promise.all(subscribers.map((subscriber) => subscriber.stop()))
  })

  prove('R4: a slow consumer gets every event and does not slow down others', async (store, realm) => {
    const subscription = store.subscribe()
    await store.append({ stream: 'a', events: [happened(0)] })
    assert.equal((await subscription.next()).value?.revision, 0)
    const quick = follow(store.subscribe())
    const other = await realm.open()
    for (const i of upTo(20)) {
      await other.append({ stream: 'a', events: happenings(150, 1 + 150 * i) })
      if (i % 5 === 0) assert.equal((await subscription.next()).value?.revision, 1 + i / 5)
    }
    await quick.gets(await drain(store.read('a')))
    assert.deepEqual(numbersOf(await quick.stop()), upTo(3_001))
    for (const n of upTo(2_996)) assert.equal((await subscription.next()).value?.revision, 5 + n)
    const next = subscription.next()
    await subscription.caughtUp()
    await subscription.return?.()
    assert.deepEqual(await next, { done: true, value: undefined })
  })

  for (const [how, end] of ways) {
    prove(
      `R4: ${how} ends a subscription without an error, whether it waits or not`,
      async (store, realm) => {
        for (const isWaiting of [false, true]) {
          const own = await realm.open()
          await own.append({ stream: 'a', events: happenings(2_000) })
          const controller = new AbortController()
          const subscription = own.subscribe({ signal: controller.signal })
          await subscription.next()
          const rest = isWaiting ? collect(subscription) : undefined
          if (isWaiting) await subscription.caughtUp()
          await end({ store: own, subscription, controller })
          if (rest) await rest
          assert.deepEqual(await subscription.next(), { done: true, value: undefined })
          await failureOf(StoreClosedError, () => subscription.caughtUp())
        }
        await store.append({ stream: 'a', events: [happened(0)] })
      },
    )
  }

  prove('R4: break and an error of the consumer end a subscription', async (store) => {
    await store.append({ stream: 'a', events: happenings(10) })
    const subscription = store.subscribe()
    for await (const event of subscription) if (event.revision === 3) break
    assert.deepEqual(await subscription.next(), { done: true, value: undefined })
    const error = new RangeError('enough')
    const consume = async () => {
      for await (const event of store.subscribe()) if (event.revision === 3) throw error
    }
    assert.equal(await thrownBy(consume), error)
    const aborted = store.subscribe({ signal: AbortSignal.abort() })
    assert.deepEqual(await aborted.next(), { done: true, value: undefined })
  })

  prove('R4: concurrent calls of next on one subscription get the events in order', async (store) => {
    const subscription = store.subscribe()
    const nexts = upTo(5).map(() => subscription.next())
    await store.append({ stream: 'a', events: happenings(5) })
    const results = await Promise.all(nexts)
    assert.deepEqual(numbersOf(results.map(({ value }) => value!)), upTo(5))
    await subscription.return?.()
  })

  prove('F3: closing the store inside the loop of a subscription ends that loop', async (store, realm) => {
    const own = await realm.open()
    await store.append({ stream: 'a', events: happenings(5) })
    let seen = 0
    for await (const _ of own.subscribe()) if (++seen === 2) await own.close()
    assert.equal(seen, 2)
    await failureOf(StoreClosedError, () => own.subscribe().next())
  })

  prove(
    'F3: closing the store before a loop of a subscription begins, or soon after, ends that loop without an error',
    async (store, realm) => {
      const { position } = await store.append({ stream: 'a', events: happenings(3) })
      const last = (await everything(store)).at(-1)!
      const checkpoint = { store: await store.identity(), position: last.position, id: last.id }
      for (const from of ['start', 'end', position!, checkpoint] as const) {
        const own = await realm.open()
        const consume = async () => drain(own.subscribe({ from }))
        const late = own.subscribe({ from })
        const early = upTo(5).map(consume)
        const soon = upTo(5).map(async (n) => {
          for (const _ of upTo(n)) await Promise.resolve()
          return own.close()
        })
        await Promise.all(soon)
        for (const events of [...(await Promise.all(early)), await drain(late)]) {
          assert.ok(events.length <= 3)
        }
      }
    },
  )

  prove('P1: subscribing from a checkpoint of another store fails at once', async (store) => {
    await store.append({ stream: 'a', events: happenings(3) })
    const [{ position, id } = assert.fail()] = await everything(store)
    const from = { store: crypto.randomUUID(), position, id }
    const error = await failureOf(CheckpointFromAnotherStoreError, () => store.subscribe({ from }).next())
    assert.deepEqual(
      [error.code, error.checkpointStore, error.store],
      ['CHECKPOINT_FROM_ANOTHER_STORE', from.store, await store.identity()],
    )
  })

  prove(
    'P1: subscribing from a checkpoint or position that is not in this history fails at once',
    async (store, realm) => {
      const before = await realm.open()
      await store.append({ stream: 'a', events: happenings(3) })
      const [{ position, id } = assert.fail()] = await everything(store)
      const identity = await before.identity()
      const beyond = `${'9'.repeat(position.length - 1)}7`.replace(/^9{3}/, '000')
      for (const from of [
        { store: identity, position, id: crypto.randomUUID() },
        { store: identity, position: beyond, id },
        beyond,
      ]) {
        const subscription = store.subscribe({ from })
        const error = await failureOf(HistoryRewoundError, () => subscription.next())
        assert.equal(error.isRetryable, false)
        assert.deepEqual(await subscription.next(), { done: true, value: undefined })
      }
      const live = follow(store.subscribe({ from: { store: identity, position, id } }))
      assert.deepEqual(numbersOf(await live.first(2)), [1, 2])
      await live.stop()
    },
  )

  prove('R4: wrong arguments of a subscription are refused', async (store) => {
    const wrong: readonly [string, unknown][] = [
      ['from', { from: '' }],
      ['from', { from: 3 }],
      ['from', { from: { position: '1' } }],
      ['streams[0]', { streams: [''] }],
      ['types[0]', { types: ['no type'] }],
      ['signal', { signal: {} }],
      ['onInterrupted', { onInterrupted: 'x' }],
      ['options.form', { form: 'start' }],
    ]
    for (const [argument, options] of wrong) {
      const error = await failureOf(InvalidArgumentError, () => store.subscribe(options as SubscribeOptions))
      assert.equal(error.argument, argument)
    }
    await failureOf(InvalidArgumentError, () => store.subscribe({ from: 'nowhere' }).next())
  })
}

interface Ending {
  readonly store: EventStore
  readonly subscription: Subscription
  readonly controller: AbortController
}

const ways: readonly [string, (ending: Ending) => unknown][] = [
  ['return', ({ subscription }) => subscription.return?.()],
  ['its signal', ({ controller }) => controller.abort()],
  ['disposing of it', ({ subscription }) => subscription[Symbol.asyncDispose]()],
  ['closing the store', ({ store }) => store.close()],
]

/** A subscription whose events are taken as they come. */
interface Follower {
  readonly subscription: Subscription
  /** The events that have come so far. */
  readonly events: readonly Recorded[]
  /** The first so many events, once they have come. Fails if the subscription ends before. */
  first(count: number): Promise<readonly Recorded[]>
  /** Waits for all of these events. Fails at the first that is another one, without waiting for the rest. */
  gets(expected: readonly Recorded[]): Promise<void>
  /** Ends it; all that it gave. */
  stop(): Promise<readonly Recorded[]>
}

function follow(subscription: Subscription): Follower {
  const events: Recorded[] = []
  let wake: () => void = () => undefined
  let ended: { readonly error: unknown } | undefined
  const over = (async () => {
    for await (const event of subscription) {
      events.push(event)
      wake()
    }
  })()
  over.then(
    () => {
      ended = { error: new Error(`the subscription ended after ${events.length} events`) }
      wake()
    },
    (error: unknown) => {
      ended = { error }
      wake()
    },
  )
  /** Resolves when there are more than `count` events. */
  const more = async (count: number) => {
    while (events.length <= count) {
      if (ended) throw ended.error
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }
  const first = async (count: number) => {
    if (count > 0) await more(count - 1)
    return events.slice(0, count)
  }
  const gets = async (expected: readonly Recorded[]) => {
    for (let checked = 0; checked < expected.length; checked = Math.min(events.length, expected.length)) {
      await more(checked)
      assert.deepEqual(events.slice(checked, expected.length), expected.slice(checked, events.length))
    }
  }
  const stop = async () => {
    await subscription.return?.()
    await over
    return events
  }
  return { subscription, events, first, gets, stop }
}

/** Takes so many events, or as many as come before the subscription is ended, and ends it. */
async function take(subscription: Subscription, count: number): Promise<Recorded[]> {
  const events: Recorded[] = []
  if (count > 0) {
    for await (const event of subscription) if (events.push(event) === count) break
  }
  await subscription.return?.()
  return events
}

async function collect(subscription: Subscription): Promise<Recorded[]> {
  const events: Recorded[] = []
  for await (const event of subscription) events.push(event)
  return events
}

/** The same numbers each time (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}
