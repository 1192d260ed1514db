// What other processes do in the long tests: node worker.mjs TASK URL OPTIONS
// It runs the built package, as a user's process would.

import { randomUUID } from 'node:crypto'
import { openSync, writeSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { postgresStore } from 'mneme/postgres'

const [task, url, json] = process.argv.slice(2)
const options = JSON.parse(json)

let isStopped = false
process.stdin.once('data', () => (isStopped = true))

const UNKNOWN = 'OUTCOME_UNKNOWN'
const tasks = { write, tail, subscribe }

/**
 * Callers that append in every way until they are told to stop. Each line of the ledger is written at once, so that
 * it outlives the process:
 *
 * - b: an append begins: its key, how many attempts at once, what each stream is expected at, and the ids of its
 *   events. r: it is attempted again.
 * - a: it was acknowledged, with the stream, revision, id and position of each event; p: as a repeat.
 * - f: it was refused, with the error's code. u: its outcome is unknown.
 * - x: something could not be read. v: something that must never be.
 */
async function write() {
  const { name, callers, pause } = options
  const ledger = openSync(options.ledger, 'a')
  const note = (line) => writeSync(ledger, `${JSON.stringify(line)}\n`)
  const store = await open()
  const counts = { acknowledged: 0, refused: 0, unknown: 0 }
  say('writing')
  await inParallel(callers, async (number) => {
    const caller = new Caller(store, `${name}-${number}`, note, counts)
    while (!isStopped) {
      await caller.append()
      if (pause > 0) await delay(Math.random() * pause)
    }
  })
  await store.close()
  say(JSON.stringify(counts))
}

/** One after the other, it makes appends of all kinds. */
class Caller {
  #store
  #name
  #note
  #counts
  #appends = 0
  /** Where the stream stands to which nobody else appends; undefined: it has to be asked. */
  #head = 'none'
  /** Whether an append whose outcome was unknown may still come. */
  #isHaunted = false

  constructor(store, name, note, counts) {
    this.#store = store
    this.#name = name
    this.#note = note
    this.#counts = counts
  }

  get #own() {
    return `own-${this.#name}`
  }

  async append() {
    this.#head ??= await this.#read(() => this.#store.head(this.#own))
    if (this.#head === undefined) return
    const kind = Math.random()
    if (kind < 0.4) await this.#attempt([this.#mine(3)])
    else if (kind < 0.6) await this.#attempt([shared()])
    else if (kind < 0.8) {
      const guard = await this.#standing(`guard-${dice(4)}`)
      if (guard) await this.#attempt([this.#mine(2), shared()].slice(0, 1 + dice(2)).concat(guard))
    } else if (kind < 0.85) await this.#attempt([written(`guard-${dice(4)}`, 'any', 1)])
    else if (kind < 0.93) {
      const hot = await this.#standing(`hot-${dice(3)}`)
      if (hot) await this.#attempt([written(hot.stream, hot.expected, 2)])
    } else await this.#attempt([shared(), this.#mine(2)].slice(0, 1 + dice(2)), { key: randomUUID() })
  }

  #mine(most) {
    return written(this.#own, this.#head, most)
  }

  async #standing(stream) {
    const expected = await this.#read(() => this.#store.head(stream))
    return expected === undefined ? undefined : { stream, expected, events: [] }
  }

  /** Appends, now and then twice at once or once more, and notes what came of it. */
  async #attempt(writes, { key } = {}) {
    const n = `${this.#name}.${this.#appends++}`
    const violated = (what) => this.#note({ v: `${n} ${what}` })
    const w = writes.map(({ stream, expected, events }) => [stream, expected, events.map(({ id }) => id)])
    const once = () => this.#once(n, writes, key)
    const isExact = ({ expected, events }) => events.length > 0 && expected !== 'any'
    const isRepeatable = key !== undefined || writes.some(isExact)
    const isTwice = isRepeatable && Math.random() < 0.05
    this.#note({ b: n, k: key, t: isTwice ? 2 : 1, w })
    const outcomes = await Promise.all(isTwice ? [once(), once()] : [once()])
    for (let i = 0; i < 5 && isRepeatable; i++) {
      const isDoubtful = !outcomes.some(({ code }) => code === 'APPENDED') && outcomes.at(-1).code === UNKNOWN
      if (Math.random() > (isDoubtful ? 0.7 : 0.03)) break
      this.#note({ r: n })
      outcomes.push(await once())
    }

    const appended = outcomes.filter(({ code }) => code === 'APPENDED')
    const conflict = outcomes.find(({ code }) => code === 'CONFLICT')
    if (appended.length > 0 && conflict) violated('was acknowledged, and a repeat of it refused')
    // Of two at once whose outcomes had to be found out, each takes itself for the first: the log tells whether it is there once.
    if (!writes.some(({ stream }) => stream === this.#own)) return
    if (appended.length > 0) {
      this.#head = appended[0].head
      this.#isHaunted = false
      return
    }
    if (outcomes.some(({ code }) => code === UNKNOWN)) {
      this.#head = undefined
      this.#isHaunted = true
    } else if (conflict?.stream === this.#own) {
      if (!this.#isHaunted) violated('was refused, though nobody else appends to its stream')
      this.#head = undefined
    }
  }

  async #once(n, writes, key) {
    try {
      const { events, revisions, repeated, position } = await this.#store.append(writes, { key })
      const e = events.map(({ stream, revision, id, position: at }) => [stream, revision, id, at])
      this.#note({ a: n, p: repeated, e })
      this.#counts.acknowledged++
      if (Math.random() < 0.02) {
        const last = await this.#read(() => this.#store.logHead())
        if (last !== undefined && last < position) this.#note({ v: `${n} is acknowledged and not read` })
      }
      return { code: 'APPENDED', repeated, head: revisions.get(this.#own) }
    } catch (error) {
      const { code = 'NONE', stream, expected, actual } = error
      if (code === UNKNOWN) {
        this.#note({ u: n, message: `${error.message}: ${told(error.cause)}` })
        this.#counts.unknown++
      } else {
        this.#note({ f: n, code, stream, expected, actual, ...(code === 'CONFLICT' ? {} : failure(error)) })
        this.#counts.refused++
      }
      if (code !== 'CONFLICT') await delay(20)
      return { code, stream }
    }
  }

  /** Reads something; undefined, where that fails, which is noted. */
  async #read(read) {
    try {
      return await read()
    } catch (error) {
      this.#note({ x: error.code ?? 'NONE', ...failure(error) })
      await delay(20)
      return undefined
    }
  }
}

function shared() {
  return written(`shared-${dice(8)}`, 'any', 2)
}

function written(stream, expected, most) {
  const events = Array.from({ length: 1 + dice(most) }, () => ({
    type: 'Happened',
    data: { text: 'x'.repeat(Math.random() < 0.02 ? 20_000 : 20) },
    id: randomUUID(),
  }))
  return { stream, expected, events }
}

/** Reads the log again and again from the last position, until it is told to stop and has read all. */
async function tail() {
  const { limit, categories } = options
  const seen = openSync(options.seen, 'a')
  const store = await open()
  let after
  let idle = 0
  const failures = {}
  say('reading')
  while (idle < 3) {
    const wasStopped = isStopped
    let isFailed = false
    let lines = ''
    try {
      for await (const { position, stream, revision, id } of store.readAll({ after, limit, categories })) {
        lines += `${position} ${stream} ${revision} ${id}\n`
        after = position
      }
    } catch (error) {
      isFailed = true
      const what = `${error.code ?? error.stack} ${told(error.cause)}`
      failures[what] = (failures[what] ?? 0) + 1
    }
    if (lines !== '') writeSync(seen, lines)
    idle = wasStopped && !isFailed && lines === '' ? idle + 1 : 0
    await delay(1 + Math.random() * 4)
  }
  await store.close()
  say(JSON.stringify({ failures }))
}

/**
 * Subscribers that end at random, until they are told to stop. The first one goes on where it was, and notes what it
 * is given; each of the others begins anew behind any event that the first one has seen, or at the start, and is
 * compared with it in the end.
 */
async function subscribe() {
  const { categories, subscribers } = options
  const seen = openSync(options.seen, 'a')
  const store = await open()
  const failures = {}
  let interruptions = 0
  const onInterrupted = () => interruptions++
  const failed = (error) => {
    const what = `${error.code ?? error.stack} ${told(error.cause)}`
    failures[what] = (failures[what] ?? 0) + 1
    return delay(20)
  }
  const whole = []
  const parts = []
  let current
  let isAll = false
  const first = async () => {
    let from = 'start'
    while (!isAll) {
      current = store.subscribe({ from, categories, onInterrupted })
      const end = performance.now() + Math.random() * 2_000
      try {
        for await (const { position, stream, revision, id } of current) {
          writeSync(seen, `${position} ${stream} ${revision} ${id}\n`)
          whole.push({ position, id })
          if (performance.now() > end && !isStopped) break
        }
      } catch (error) {
        await failed(error)
      }
      from = current.checkpoint ?? from
    }
  }
  const other = async () => {
    while (!isStopped) {
      const start = Math.random() < 0.3 ? 0 : dice(whole.length + 1)
      const ids = []
      const from = whole[start - 1]?.position ?? 'start'
      const subscription = store.subscribe({ from, categories, onInterrupted })
      void delay(dice(1_000)).then(() => subscription.return())
      try {
        for await (const { id } of subscription) ids.push(id)
      } catch (error) {
        await failed(error)
      }
      parts.push({ start, ids })
    }
  }
  const all = Promise.all([first(), inParallel(subscribers - 1, other)])
  say('reading')
  while (!isStopped) await delay(20)
  const head = await store.logHead()
  while (!(current.checkpoint?.position >= head)) await delay(20)
  isAll = true
  await current.return()
  await all
  await store.close()
  const wrong = parts.filter(({ start, ids }) => ids.some((id, i) => id !== whole[start + i]?.id)).length
  const given = parts.reduce((sum, { ids }) => sum + ids.length, 0)
  say(JSON.stringify({ failures, parts: parts.length, given, wrong, interruptions }))
}

async function open() {
  const { max = 10, prepare, connectTimeout, statementTimeout, busyTimeout } = options
  return postgresStore(
    { connectionString: url, max },
    { prepare, connectTimeout, statementTimeout, busyTimeout },
  )
}

function failure(error) {
  return { message: String(error.stack), cause: told(error.cause) }
}

function told(cause) {
  return cause === undefined ? '' : `${cause.code ?? ''} ${cause.message}`
}

function dice(sides) {
  return Math.floor(Math.random() * sides)
}

function inParallel(count, run) {
  return Promise.all(Array.from({ length: count }, (_, i) => run(i)))
}

function say(line) {
  process.stdout.write(`${line}\n`)
}

await tasks[task]()
process.exit(0)
