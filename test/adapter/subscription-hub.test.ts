import { HistoryRewoundError, StoreFailedError, StoreUnavailableError } from 'mneme'
import {
  type BeginningWatch,
  tailLog,
  type LogSource,
  type ScanRequest,
  type StoredEvent,
} from 'mneme/adapter'
import { describe, expect, onTestFinished, test } from 'vitest'

import { replaceEnvironment, systemEnvironment } from '../../src/base/environment.ts'
import type { LogFilter, LogPlace, SubscribedPage } from '../../src/adapter/store-adapter.ts'
import { settle, times } from '../support/observed-store.ts'

/** A log whose reading and watching are in the test's hands. */
class TestLog implements LogSource {
  readonly events: StoredEvent[] = []
  readonly watchers = new Set<() => void>()
  scans = 0
  /** What the next scans throw. */
  readonly failures: unknown[] = []
  /** Waited for by each scan, after it has read. */
  delay: () => Promise<void> = () => Promise.resolve()
  pageSize = 100

  append(count: number, type = 'Happened'): void {
    for (let i = 0; i < count; i++) {
      const n = this.events.length
      this.events.push({
        ...{ stream: `s-${n % 3}`, id: `id-${n}`, type, version: 1, data: `{"n":${n}}`, metadata: '{}' },
        ...{ revision: n, position: String(n).padStart(6, '0'), time: '2026-01-01T00:00:00.000Z' },
      })
    }
  }

  notify(): void {
    for (const changed of this.watchers) changed()
  }

  async *scan({ after, types }: LogFilter & { after: LogPlace | undefined }) {
    this.scans++
    const end = this.events.length
    await this.delay()
    const failure = this.failures.shift()
    if (failure) throw failure
    let next = after === undefined ? 0 : Number(after.position) + 1
    for (; next < end; next += this.pageSize) {
      const looked = this.events.slice(next, Math.min(end, next + this.pageSize))
      yield { events: looked.filter(({ type }) => types?.includes(type) ?? true), through: looked.at(-1)! }
    }
  }

  watch(changed: () => void): ReturnType<LogSource['watch']> {
    this.watchers.add(changed)
    return () => this.watchers.delete(changed)
  }
}

/** A subscriber that takes pages when it is told to, or by itself. */
function subscriber(
  log: LogSource,
  options: { types?: string[]; after?: LogPlace } = {},
  tail = tailLog(log),
) {
  const ending = new AbortController()
  const interruptions: string[] = []
  const request = {
    ...{ streams: undefined, categories: undefined, types: options.types, after: options.after },
    ...{ signal: ending.signal, interrupted: (error: Error) => void interruptions.push(error.name) },
  }
  const pages = tail(request)[Symbol.asyncIterator]() as AsyncIterator<SubscribedPage, undefined>
  const taken: SubscribedPage[] = []
  onTestFinished(() => ending.abort())
  const run = async () => {
    for (let page = await pages.next(); !page.done; page = await pages.next()) taken.push(page.value)
  }
  return {
    pages,
    taken,
    interruptions,
    run,
    numbers: () => taken.flatMap(({ events }) => events.map(({ revision }) => revision)),
    end: () => ending.abort(),
  }
}

async function until(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !isSo(); i++) await settle()
  expect(isSo()).toBe(true)
}

describe('the subscription hub', () => {
  test('an event appended between the scan and the watch is not lost', async () => {
    const log = new TestLog()
    log.append(10)
    const one = subscriber(log)
    log.delay = async () => {
      // After this scan has looked, and before anybody watches.
      if (log.scans === 1) log.append(5)
    }
    void one.run()
    await until(() => one.numbers().length === 15)
    expect(one.numbers()).toEqual(times(15, (i) => i))
  })

  test('a hundred waiting subscribers share one watch and one scan of new events', async () => {
    const log = new TestLog()
    log.append(10)
    const tail = tailLog(log)
    const all = times(100, () => subscriber(log, {}, tail))
    for (const one of all) void one.run()
    await until(() => all.every(({ taken }) => taken.at(-1)?.isCaughtUp === true))
    await settle()
    expect(log.watchers.size).toBe(1)
    const before = log.scans
    log.append(1)
    log.notify()
    await until(() => all.every((one) => one.numbers().length === 11))
    await settle()
    expect(log.scans - before).toBe(1)
    for (const one of all) one.end()
    await until(() => log.watchers.size === 0)
  })

  test('waiting subscribers are given one list of new events; one with a filter, or a slow one, is given its own', async () => {
    const log = new TestLog()
    log.append(10, 'A')
    const tail = tailLog(log)
    const [one, two, filtered, slow] = [{}, {}, { types: ['B'] }, {}].map((how) => subscriber(log, how, tail))
    const quick = [one!, two!, filtered!]
    for (const each of quick) void each.run()
    for (let page; page?.isCaughtUp !== true;) page = (await slow!.pages.next()).value
    await until(() => quick.every(({ taken }) => taken.at(-1)?.isCaughtUp === true))
    const late = slow!.pages.next()
    for (const type of ['A', 'B', 'B']) {
      log.append(2, type)
      log.notify()
      await until(() => one!.numbers().length === log.events.length)
    }
    await until(() => filtered!.numbers().length === 4)
    const [a, b, c] = quick.map(({ taken }) => taken.findLast(({ events }) => events.length > 0)!)
    expect(a).toMatchObject({ isShared: true, isSharedPage: true })
    expect(b!.events).toBe(a!.events)
    expect(c).toMatchObject({ isShared: true, isSharedPage: false })
    expect(c!.events).toEqual(a!.events)
    expect((await late).value).toMatchObject({ isSharedPage: true })
    const { value: own } = await slow!.pages.next()
    expect(own).toMatchObject({ isShared: true, isSharedPage: false })
    expect(own!.events.map(({ revision }) => revision)).toEqual([12, 13, 14, 15])
  })

  test('a subscriber with a wider filter joins while a pass with a narrower one is under way', async () => {
    const log = new TestLog()
    log.append(10, 'A')
    const tail = tailLog(log)
    const few = subscriber(log, { types: ['B'] }, tail)
    void few.run()
    await until(() => few.taken.at(-1)?.isCaughtUp === true)
    const held: (() => void)[] = []
    log.delay = () => new Promise((resolve) => void held.push(resolve))
    const release = () => held.splice(0).forEach((go) => go())
    log.append(5, 'A')
    // A look at what is new is under way, for B alone, when one comes that wants all.
    log.notify()
    await settle()
    const all = subscriber(log, {}, tail)
    void all.run()
    log.append(1, 'B')
    await until(() => {
      release()
      log.notify()
      return all.numbers().length === 16 && few.numbers().length === 1
    })
    expect(all.numbers()).toEqual(times(16, (i) => i))
    expect(few.numbers()).toEqual([15])
  })

  test('a slow subscriber gets a bounded number of waiting events and then scans by itself', async () => {
    const log = new TestLog()
    const tail = tailLog(log)
    const [slow, quick] = [subscriber(log, {}, tail), subscriber(log, {}, tail)]
    void quick.run()
    await slow.pages.next()
    const waiting = slow.pages.next()
    for (let i = 0; i < 100; i++) {
      log.append(50)
      log.notify()
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    await until(() => quick.numbers().length === 5_000)
    const first = (await waiting).value!
    const second = (await slow.pages.next()).value!
    expect(first.events.length + second.events.length).toBeLessThanOrEqual(1_200)
    const numbers = [first, second].flatMap(({ events }) => events.map(({ revision }) => revision))
    while (numbers.length < 5_000) {
      const page = (await slow.pages.next()).value!
      numbers.push(...page.events.map(({ revision }) => revision))
    }
    expect(numbers).toEqual(times(5_000, (i) => i))
    expect(quick.numbers()).toEqual(numbers)
  })

  test('a subscription reports that the store is unreachable, and continues when it is back', async () => {
    const log = new TestLog()
    log.append(150)
    const one = subscriber(log)
    log.failures.push(new StoreUnavailableError('gone'), new StoreUnavailableError('gone'))
    void one.run()
    await until(() => one.numbers().length === 150)
    log.failures.push(new StoreUnavailableError('gone again'))
    log.append(10)
    log.notify()
    await until(() => one.numbers().length === 160)
    expect(one.numbers()).toEqual(times(160, (i) => i))
    expect(one.interruptions).toEqual(times(3, () => 'StoreUnavailableError'))
  })

  test('a permanent error reaches each waiting subscriber', async () => {
    const log = new TestLog()
    log.append(3)
    const tail = tailLog(log)
    const all = times(3, () => subscriber(log, {}, tail))
    const outcomes = all.map((one) => one.run().catch((error: unknown) => error))
    await until(() => all.every(({ taken }) => taken.at(-1)?.isCaughtUp === true))
    await settle()
    const failure = new StoreFailedError('a disk died')
    log.failures.push(failure)
    log.append(1)
    log.notify()
    expect(await Promise.all(outcomes)).toEqual([failure, failure, failure])
    expect(log.watchers.size).toBe(0)
  })

  test('a notification during a pass causes another pass', async () => {
    const log = new TestLog()
    const one = subscriber(log)
    void one.run()
    await until(() => one.taken.length > 0)
    await settle()
    let isFirst = true
    log.delay = async () => {
      if (!isFirst) return
      isFirst = false
      log.append(1)
      // The only word of it.
      log.notify()
    }
    log.notify()
    await until(() => one.numbers().length === 1)
  })

  describe('a subscriber whose place was passed while it scanned', () => {
    /** Two subscribers: the first is given up to 15 and on while the second has seen 10, and joins. */
    async function passed() {
      // Where a busy log is looked at rarely.
      const log = Object.assign(new TestLog(), { isSparing: true })
      log.append(10)
      const tail = tailLog(log)
      const first = subscriber(log, {}, tail)
      const over = first.run().catch((error: unknown) => error)
      await until(() => first.taken.at(-1)?.isCaughtUp === true)
      const held: (() => void)[] = []
      log.delay = () => new Promise((resolve) => void held.push(resolve))
      const second = subscriber(log, {}, tail)
      void second.run()
      await until(() => held.length === 1)
      log.append(500)
      log.notify()
      await until(() => held.length === 2)
      const [own, pass] = held.splice(0)
      own!()
      await settle()
      log.append(1)
      log.notify()
      return { log, first, second, over, held, pass: pass! }
    }

    test('it joins before the next pass, which begins at once, and no event is given twice', async () => {
      const { log, first, second, held, pass } = await passed()
      const before = log.scans
      pass()
      // No timer comes meanwhile.
      for (let i = 0; i < 50; i++) await Promise.resolve()
      expect(held).toHaveLength(1)
      held.shift()!()
      await until(() => second.numbers().length === 511)
      expect(log.scans - before).toBe(1)
      expect(first.numbers()).toEqual(times(511, (i) => i))
      expect(second.numbers()).toEqual(times(511, (i) => i))
    })

    test('other subscribers compare the rescanned events with their own, and fail with HistoryRewoundError if one differs', async () => {
      const { log, first, second, over, held, pass } = await passed()
      pass()
      await until(() => held.length === 1)
      log.events.splice(10)
      log.append(600)
      log.events.splice(
        10,
        600,
        ...log.events.slice(10).map((event) => ({ ...event, id: `new-${event.id}` })),
      )
      log.delay = () => Promise.resolve()
      // What is held reads this.
      held.shift()!()
      log.notify()
      expect(await over).toBeInstanceOf(HistoryRewoundError)
      expect(first.numbers()).toEqual(times(510, (i) => i))
      await until(() => second.numbers().length === 610)
    })
  })

  describe('a subscriber whose own scan takes longer than several passes', () => {
    /** The first subscriber is given so many events in passes of their own while the second one scans. */
    async function outpaced(passes: readonly number[]) {
      const log = new TestLog()
      log.append(10)
      const tail = tailLog(log)
      const first = subscriber(log, {}, tail)
      void first.run()
      await until(() => first.taken.at(-1)?.isCaughtUp === true)
      await settle()
      let release!: () => void
      log.delay = () => {
        log.delay = () => Promise.resolve()
        return new Promise((resolve) => (release = resolve))
      }
      const second = subscriber(log, {}, tail)
      void second.run()
      await settle()
      for (const count of passes) {
        log.append(count)
        log.notify()
        await until(() => first.numbers().length === log.events.length)
      }
      await settle()
      const before = log.scans
      release()
      await until(() => second.numbers().length === log.events.length)
      await settle()
      return { log, second, scans: log.scans - before }
    }

    test('joins the others, with one scan for all from where it stands', async () => {
      const { log, second, scans } = await outpaced([1, 2, 3, 1])
      expect(scans).toBe(1)
      expect(second.numbers()).toEqual(times(log.events.length, (i) => i))
    })

    test('scans once more by itself if it is far behind', async () => {
      const { log, second, scans } = await outpaced([300, 300, 1])
      expect(scans).toBeGreaterThan(1)
      expect(second.numbers()).toEqual(times(log.events.length, (i) => i))
    })
  })

  describe('if a watch takes time to begin', () => {
    /** A log whose watches begin when the test says so, and until then notify nobody. */
    class SlowLog extends TestLog {
      readonly watches: { readonly types: readonly string[] | undefined; begin(): void; isOver: boolean }[] =
        []
      /** What passes asked for, and from where. */
      readonly asked: string[] = []

      override watch(changed: () => void, wanted?: ScanRequest): BeginningWatch {
        let settle!: () => void
        const begun = new Promise<void>((resolve) => (settle = resolve))
        const watch = {
          types: wanted!.types,
          begin: () => {
            this.watchers.add(changed)
            settle()
          },
          isOver: false,
        }
        this.watches.push(watch)
        const end = () => {
          watch.isOver = true
          this.watchers.delete(changed)
        }
        return { begun, end }
      }

      override async *scan(request: ScanRequest) {
        this.asked.push(request.types?.join() ?? 'all')
        yield* super.scan(request)
      }
    }

    async function withOneOfA() {
      const log = new SlowLog()
      const tail = tailLog(log)
      const first = subscriber(log, { types: ['A'] }, tail)
      void first.run()
      await until(() => log.watches.length === 1)
      log.watches[0]!.begin()
      await until(() => first.taken.at(-1)?.isCaughtUp === true)
      const join = async (type: string) => {
        const one = subscriber(log, { types: [type] }, tail)
        const over = one.run()
        await until(() => one.taken.at(-1)?.isCaughtUp === true)
        await settle()
        return Object.assign(one, { over })
      }
      return { log, first, join }
    }

    test('those that are there keep theirs, and who joins misses nothing', async () => {
      const { log, first, join } = await withOneOfA()
      const second = await join('B')
      expect(log.watches.map(({ types, isOver }) => [types, isOver])).toEqual([
        [['A'], false],
        [['A', 'B'], false],
      ])
      for (const type of ['A', 'B', 'A']) {
        log.append(1, type)
        log.notify()
        await settle()
      }
      await until(() => first.numbers().length === 2)
      expect(second.numbers()).toEqual([])
      // Others that join meanwhile come with the watch after that, all at once.
      const [third, fourth] = [await join('C'), await join('D')]
      expect(log.watches).toHaveLength(2)
      log.append(1, 'C')
      log.watches[1]!.begin()
      await until(() => second.numbers().length === 1)
      expect(log.watches.map(({ types, isOver }) => [types, isOver])).toEqual([
        [['A'], true],
        [['A', 'B'], false],
        [['A', 'B', 'C', 'D'], false],
      ])
      expect(third.numbers()).toEqual([])
      log.append(1, 'D')
      log.watches[2]!.begin()
      await until(() => third.numbers().length === 1 && fourth.numbers().length === 1)
      expect([first, second, third, fourth].map((one) => one.numbers())).toEqual([[0, 2], [1], [3], [4]])
      expect(log.watches.map(({ isOver }) => isOver)).toEqual([true, true, false])
    })

    test('one that asks for nothing else joins at once', async () => {
      const { log, join } = await withOneOfA()
      const second = await join('A')
      log.append(1, 'A')
      log.notify()
      await until(() => second.numbers().length === 1)
      expect(log.watches).toHaveLength(1)
    })

    test('one that ends before is not waited for, and nothing is left', async () => {
      const { log, first, join } = await withOneOfA()
      const second = await join('B')
      second.end()
      await second.over
      first.end()
      await until(() => log.watches.every(({ isOver }) => isOver))
      expect(log.watches).toHaveLength(2)
    })

    test('one goes on when those that were there have gone', async () => {
      const { log, first, join } = await withOneOfA()
      const second = await join('B')
      first.end()
      await until(() => log.watches[0]!.isOver)
      log.append(1, 'B')
      log.watches[1]!.begin()
      await until(() => second.numbers().length === 1)
      second.end()
      await second.over
      await until(() => log.watches[1]!.isOver)
    })

    test('what only those that left have asked for is no longer watched for after a while', async () => {
      const timers: { readonly delay: number; call(): void }[] = []
      replaceEnvironment({
        ...systemEnvironment,
        after: (delay, call) => {
          if (delay < 500) return systemEnvironment.after(delay, call)
          const timer = { delay, call }
          timers.push(timer)
          return () => void timers.splice(timers.indexOf(timer), 1)
        },
      })
      onTestFinished(() => {
        replaceEnvironment(undefined)
      })
      const { log, first, join } = await withOneOfA()
      const others = [await join('B'), await join('C')]
      for (const [i] of others.entries()) {
        log.watches[i + 1]!.begin()
        await until(() => log.watches[i]!.isOver)
      }
      for (const one of others) {
        one.end()
        await one.over
      }
      expect(timers).toHaveLength(1)
      expect(log.watches).toHaveLength(3)
      timers[0]!.call()
      expect(log.watches[3]).toMatchObject({ types: ['A'] })
      log.watches[3]!.begin()
      await until(() => log.watches[2]!.isOver)
      log.append(1, 'A')
      log.notify()
      await until(() => first.numbers().length === 1)
      expect(log.asked.at(-1)).toBe('A')
    })

    test('a wider watch, if that is cheaper, needs no other when more join', async () => {
      const log = new SlowLog()
      const wide = Object.assign(log, {
        widen: ({ streams, categories }: LogFilter) => ({ streams, categories, types: undefined }),
      })
      const tail = tailLog(wide)
      const all = times(3, (i) => subscriber(log, { types: [`T${i}`] }, tail))
      for (const one of all) void one.run()
      await until(() => all.every(({ taken }) => taken.at(-1)?.isCaughtUp === true))
      await settle()
      log.watches[0]!.begin()
      for (let i = 0; i < 3; i++) log.append(1, `T${i}`)
      log.notify()
      await until(() => all.every((one) => one.numbers().length === 1))
      expect(all.map((one) => one.numbers())).toEqual([[0], [1], [2]])
      expect(log.watches.map(({ types }) => types)).toEqual([undefined])
    })
  })

  test.each([
    ['', false, 8],
    [', and more widely if the source is sparing', true, 24],
  ])('passes over a busy log are spaced out%s', async (_, isSparing, every) => {
    const log = Object.assign(new TestLog(), { isSparing })
    const one = subscriber(log)
    void one.run()
    await until(() => one.taken.length > 0)
    const [before, began] = [log.scans, performance.now()]
    let took = 0
    while (took < 300 || log.scans - before <= 3) {
      log.append(50)
      log.notify()
      await new Promise((resolve) => setImmediate(resolve))
      took = performance.now() - began
    }
    // Three may begin at once.
    expect(log.scans - before).toBeLessThanOrEqual(3 + Math.ceil(took / every))
    log.notify()
    await until(() => one.numbers().length === log.events.length)
    expect(one.numbers()).toEqual(times(log.events.length, (i) => i))
  })

  test('a subscription can be ended while it waits to retry', async () => {
    const log = new TestLog()
    log.failures.push(...times(100, () => new StoreUnavailableError('gone')))
    const one = subscriber(log)
    const over = one.run()
    await until(() => one.interruptions.length > 3)
    one.end()
    await over
  })
})
