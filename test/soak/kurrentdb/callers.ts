import { randomUUID } from 'node:crypto'
import type { EventStore, Recorded } from 'mneme'

type Expected = number | 'none' | 'any' | 'exists'

/** What is written to a stream, or expected of it. */
interface Write {
  readonly stream: string
  readonly expected: Expected
  readonly events: readonly {
    readonly type: string
    readonly data: { readonly tag: string }
    readonly id?: string
  }[]
}

/** What is known of an append when all is over. */
interface Append {
  readonly n: string
  readonly key: string | undefined
  readonly conditions: readonly { readonly stream: string; readonly expected: Expected }[]
  readonly events: readonly { readonly stream: string; readonly tag: string }[]
  /** The highest position that was acknowledged before it began. */
  readonly after: string
  told: readonly Recorded[] | undefined
  attempts: number
  /** Attempts that are sure to have had no effect. */
  refusals: number
  /** What was said of the last attempt. */
  last: string
}

/** Callers that append in every way until they are told to stop, and a ledger of what they were told. */
export class Callers {
  readonly appends: Append[] = []
  /** What must never be, and was seen. */
  readonly wrong: string[] = []
  readonly codes = new Map<string, number>()
  acknowledged = 0
  unknown = 0
  /** Acknowledged as repeats. */
  repeated = 0
  /** The longest that a call took, in milliseconds. */
  longest = 0
  readonly #store: EventStore
  readonly #prefix: string
  readonly #pause: number
  readonly #running: Promise<unknown>
  #isStopped = false
  #highest = ''

  constructor(store: EventStore, { count, prefix, pause }: { count: number; prefix: string; pause: number }) {
    this.#store = store
    this.#prefix = prefix
    this.#pause = pause
    this.#running = Promise.all(Array.from({ length: count }, (_, i) => this.#run(i)))
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  async #run(number: number): Promise<void> {
    const own = `${this.#prefix}own${String(number)}`
    let head: Expected | undefined = 'none'
    for (let n = 0; !this.#isStopped; n++) {
      head ??= await this.#headOf(own)
      if (head === undefined) continue
      const mine = written(own, head, 1 + dice(3))
      const kind = Math.random()
      const writes = await this.#writes(kind, mine)
      if (writes) {
        const key = kind > 0.85 && kind < 0.95 ? randomUUID() : undefined
        const known = await this.#append(`${String(number)}.${String(n)}`, writes, key)
        if (writes.includes(mine)) head = known?.get(own)
      }
      if (this.#pause > 0) await delay(Math.random() * this.#pause)
    }
  }

  async #writes(kind: number, mine: Write): Promise<readonly Write[] | undefined> {
    const shared = written(`${this.#prefix}shared${String(dice(8))}`, 'any', 1 + dice(2))
    if (kind < 0.4) return [mine]
    if (kind < 0.5) return [shared]
    if (kind < 0.6) return [mine, shared]
    if (kind < 0.75) {
      const guard = `${this.#prefix}guard${String(dice(4))}`
      const expected = await this.#headOf(guard)
      return expected === undefined ? undefined : [mine, { stream: guard, expected, events: [] }]
    }
    if (kind < 0.78) return [written(`${this.#prefix}guard${String(dice(4))}`, 'any', 1)]
    if (kind < 0.85) {
      const hot = `${this.#prefix}hot${String(dice(3))}`
      const expected = await this.#headOf(hot)
      return expected === undefined ? undefined : [written(hot, expected, 1 + dice(2))]
    }
    if (kind < 0.95) return [shared, mine].slice(0, 1 + dice(2))
    return [written(`${this.#prefix}shared${String(dice(8))}`, 'exists', 1)]
  }

  /** Where the streams stand after it, if that was told. Now and then, and mostly where it is in doubt, it is made again. */
  async #append(n: string, writes: readonly Write[], key: string | undefined) {
    const append: Append = {
      ...{ n, key, after: this.#highest, told: undefined, attempts: 0, refusals: 0, last: '' },
      conditions: writes.map(({ stream, expected }) => ({ stream, expected })),
      events: writes.flatMap(({ stream, events }) => events.map(({ data: { tag } }) => ({ stream, tag }))),
    }
    this.appends.push(append)
    const isExact = append.conditions.some(
      ({ stream, expected }) =>
        expected !== 'any' && expected !== 'exists' && append.events.some((event) => event.stream === stream),
    )
    // Ids that are made for it are others each time.
    const isGiven = writes.every(({ events }) => events.every(({ id }) => id !== undefined))
    const isRepeatable = key !== undefined || (isExact && isGiven)
    for (;;) {
      append.attempts++
      const began = performance.now()
      let isDoubtful: boolean
      try {
        const { events, revisions, position, repeated } = await this.#store.append(writes, { key })
        const said = events.map(place).join()
        if (append.told && append.told.map(place).join() !== said)
          this.wrong.push(`${n} was told other things`)
        if (!append.told) this.acknowledged++
        if (repeated) this.repeated++
        append.told = events
        if (position !== undefined && position > this.#highest) this.#highest = position
        if (!isRepeatable || Math.random() < 0.97) return revisions
      } catch (error) {
        const code = (error as { code?: string }).code ?? String((error as Error).stack)
        this.codes.set(code, (this.codes.get(code) ?? 0) + 1)
        isDoubtful = code === 'OUTCOME_UNKNOWN'
        append.last = code
        if (isDoubtful) this.unknown++
        else append.refusals++
        if (append.told) {
          if (code === 'CONFLICT') this.wrong.push(`${n} was acknowledged, and a repeat of it is a conflict`)
          return undefined
        }
        if (!isRepeatable || !isDoubtful || Math.random() < 0.3) return undefined
      } finally {
        this.longest = Math.max(this.longest, performance.now() - began)
      }
    }
  }

  async #headOf(stream: string): Promise<number | 'none' | undefined> {
    const began = performance.now()
    try {
      return await this.#store.head(stream)
    } catch (error) {
      const code = `head: ${(error as { code?: string }).code ?? String((error as Error).stack)}`
      this.codes.set(code, (this.codes.get(code) ?? 0) + 1)
      await delay(20)
      return undefined
    } finally {
      this.longest = Math.max(this.longest, performance.now() - began)
    }
  }

  /**
   * Whether the log holds what it should: everything acknowledged, whole, once, where it was told to be; nothing
   * refused; what is unknown whole or not at all; and, in the order of positions, each where its expectations held.
   *
   * @returns what is wrong.
   */
  check(log: readonly Recorded[]): string[] {
    const wrong = [...this.wrong]
    const places = new Map<string, number>()
    const heads = new Map<string, number>()
    log.forEach((event, i) => {
      const { stream, revision, position } = event
      const tag = tagOf(event)
      if (places.has(tag)) wrong.push(`${tag} is there twice`)
      places.set(tag, i)
      if (revision !== (heads.get(stream) ?? -1) + 1)
        wrong.push(`${stream} has a gap before ${String(revision)}`)
      heads.set(stream, revision)
      if (i > 0 && position <= log[i - 1]!.position) wrong.push(`${position} is out of order`)
    })
    const there: { append: Append; at: number }[] = []
    let count = 0
    for (const append of this.appends) {
      const { n, events, told, refusals, attempts } = append
      const found = events.map(({ tag }) => places.get(tag)).filter((at) => at !== undefined)
      if (found.length === 0) {
        if (told) wrong.push(`${n} was acknowledged and is not there`)
        continue
      }
      count += found.length
      const at = found[0]!
      there.push({ append, at })
      if (found.length < events.length) wrong.push(`${n} is there in part`)
      if (!told && refusals === attempts) wrong.push(`${n} was refused (${append.last}) and is there`)
      if (log[at]!.position <= append.after) wrong.push(`${n} stands before what was acknowledged before it`)
      events.forEach(({ tag }, i) => {
        const stored = log[at + i]
        if (!stored || tagOf(stored) !== tag) wrong.push(`${n} is not there in its order`)
        else if (told && place(told[i]!) !== place(stored))
          wrong.push(`${n} was told ${place(told[i]!)}, and is ${place(stored)}`)
      })
    }
    if (count !== log.length) wrong.push(`${String(log.length - count)} events are of nobody`)
    there.sort((a, b) => a.at - b.at)
    const standing = new Map<string, number>()
    for (const { append, at } of there) {
      for (const { stream, expected } of append.conditions) {
        const head = standing.get(stream)
        const holds =
          expected === 'any' || (expected === 'exists' ? head !== undefined : expected === (head ?? 'none'))
        if (!holds)
          wrong.push(
            `${append.n} expected ${stream} at ${String(expected)}, and it was at ${String(head ?? 'none')}`,
          )
      }
      append.events.forEach(({ stream }, i) => standing.set(stream, log[at + i]!.revision))
    }
    return wrong
  }

  /** How many appends are there whose outcome nobody heard. */
  unheard(log: readonly Recorded[]): number {
    const tags = new Set(log.map(tagOf))
    return this.appends.filter(({ told, events }) => !told && tags.has(events[0]!.tag)).length
  }
}

function written(stream: string, expected: Expected, count: number): Write {
  const text = 'x'.repeat(Math.random() < 0.02 ? 20_000 : 20)
  const isGiven = Math.random() < 0.4
  const events = Array.from({ length: count }, () => ({
    ...{ type: 'Happened', data: { text, tag: randomUUID() }, ...(isGiven && { id: randomUUID() }) },
  }))
  return { stream, expected, events }
}

function tagOf({ data }: Recorded): string {
  return (data as { tag: string }).tag
}

function place({ stream, revision, id, position }: Recorded): string {
  return `${stream}/${String(revision)}/${id}/${position}`
}

function dice(sides: number): number {
  return Math.floor(Math.random() * sides)
}

function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}
