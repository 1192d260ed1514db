import { anchorOf } from '../adapter/append-rules.ts'
import type {
  Appended,
  AppendRequest,
  AppendVerdict,
  Capabilities,
  StoreAdapter,
} from '../adapter/store-adapter.ts'
import { tailLog } from '../adapter/subscription-hub.ts'
import { OutcomeUnknownError, StoreFullError, StoreUnavailableError } from '../base/errors.ts'
import { memoryAdapter, MemoryData, sourceOf } from '../stores/memory/adapter.ts'
import type { FaultName, Faults } from './faults.ts'
import type { Scheduler, SimulatedProcess } from './scheduler.ts'

/** What a simulated server does and suffers. */
export interface ServerSettings {
  readonly faults: Required<Faults>
  readonly capabilities: Capabilities
  /** Told of each fault, and of each append that was committed. */
  readonly noted: (what: string, process: SimulatedProcess, fault?: FaultName) => void
  readonly appended: () => void
}

/** One store, and the network between it and the processes of the simulation. */
export class SimulatedServer {
  readonly data = new MemoryData()
  /** The server itself, which does not fail: what is under way arrives, whatever becomes of its sender. */
  readonly #self: SimulatedProcess
  readonly #store: StoreAdapter
  readonly #scheduler: Scheduler
  readonly #settings: ServerSettings
  /** Appends that are still under way although their senders have given them up. */
  ghosts = 0

  constructor(self: SimulatedProcess, scheduler: Scheduler, settings: ServerSettings) {
    this.#self = self
    this.#scheduler = scheduler
    this.#settings = settings
    this.#store = memoryAdapter(this.data)
  }

  /** The store as a process sees it. */
  connect(process: SimulatedProcess): StoreAdapter {
    const store = this.#store
    const call = async <T>(work: () => Promise<T>): Promise<T> => {
      await this.#travel(process)
      if (this.#strikes('unavailable', process)) throw unavailable()
      const result = await work()
      await this.#travel(process)
      return result
    }
    const pages = <Page>(open: () => AsyncIterable<Page>) => this.#pages(process, open)
    const source = sourceOf(this.data)
    return {
      capabilities: this.#settings.capabilities,
      identity: () => call(() => store.identity()),
      append: (request) => this.#append(process, request),
      read: (request) => pages(() => store.read(request)),
      readAll: (request) => pages(() => store.readAll(request)),
      streams: (request) => pages(() => store.streams!(request)),
      heads: (streams) => call(() => store.heads(streams)),
      logHead: () => call(() => store.logHead()),
      idAt: (position) => call(() => store.idAt(position)),
      subscribe: tailLog({
        scan: (request) => pages(() => source.scan(request)),
        watch: (changed) => this.#watch(process, changed),
      }),
      close: () => Promise.resolve(),
    }
  }

  async #append(process: SimulatedProcess, request: AppendRequest): Promise<AppendVerdict> {
    const isWriting = request.events.length > 0
    await this.#travel(process, this.#strikes('conflict', process) ? LATE_MS : 0)
    if (this.#strikes('unavailable', process)) throw unavailable()
    if (isWriting && this.#strikes('fullDisk', process))
      throw new StoreFullError('the simulated disk is full')
    if (isWriting && this.#strikes('ghost', process)) {
      const arrived = this.#arrivesLate(request)
      return this.#settle(process, request, arrived)
    }
    const verdict = await this.#commit(request)
    if (isWriting && this.#strikes('lostAnswer', process)) return this.#settle(process, request, undefined)
    await this.#travel(process)
    return verdict
  }

  /** What an adapter does about an append of which it does not know whether it was committed. */
  async #settle(
    process: SimulatedProcess,
    request: AppendRequest,
    arrived: Promise<void> | undefined,
  ): Promise<AppendVerdict> {
    const { draw } = this.#scheduler
    await this.#travel(process)
    const isSettled = anchorOf(request) !== undefined || this.#settings.capabilities.settlesAny
    if (!isSettled || draw.happens(0.5)) throw new OutcomeUnknownError('the simulated connection was lost')
    if (anchorOf(request) === undefined) await arrived
    await this.#travel(process)
    // Its own events come first: a key that was used may be its own. Sent again, they are stored once.
    const verdict = this.#findOwn(request) ?? (await this.#commit(request))
    await this.#travel(process)
    return verdict.kind === 'repeated' ? appendedBefore(verdict) : verdict
  }

  #findOwn({ conditions, events }: AppendRequest): AppendVerdict | undefined {
    const { log, streams } = this.data
    const first = log.findIndex(({ id }) => id === events[0]!.id)
    if (first < 0) return undefined
    const stored = log.slice(first, first + events.length)
    const heads = conditions.map(({ stream, expected }) => {
      const own = stored.findLast((event) => event.stream === stream)?.revision
      return (
        own ?? (typeof expected === 'number' ? expected : (streams.get(stream)?.at(-1)?.revision ?? 'none'))
      )
    })
    return { kind: 'repeated', events: stored, heads }
  }

  /** An append that its sender has given up. */
  #arrivesLate(request: AppendRequest): Promise<void> {
    this.ghosts++
    return new Promise((resolve) => {
      this.#scheduler.after(this.#self, this.#scheduler.draw.integer(1, LATE_MS), () => {
        this.ghosts--
        void this.#commit(request).then(() => {
          resolve()
        })
      })
    })
  }

  async #commit(request: AppendRequest): Promise<AppendVerdict> {
    const verdict = await this.#store.append(request)
    if (verdict.kind === 'appended' && request.events.length > 0) this.#settings.appended()
    return verdict
  }

  /** Pages, each of which takes a call; the connection may be lost before any of them. */
  async *#pages<Page>(
    process: SimulatedProcess,
    open: () => AsyncIterable<Page>,
  ): AsyncGenerator<Page, undefined> {
    await this.#travel(process)
    if (this.#strikes('unavailable', process)) throw unavailable()
    for await (const page of open()) {
      await this.#travel(process)
      if (this.#strikes('cutRead', process)) throw unavailable()
      yield page
    }
    return undefined
  }

  #watch(process: SimulatedProcess, changed: () => void): () => void {
    const { watchers } = this.data
    const notify = () => {
      if (this.#strikes('lostNotification', process)) return
      this.#scheduler.after(process, this.#latency(), changed)
    }
    let cancel: () => void
    const poll = () => {
      cancel = this.#scheduler.after(process, POLL_MS, () => {
        poll()
        changed()
      })
    }
    const stop = () => {
      watchers.delete(notify)
      cancel()
    }
    poll()
    watchers.add(notify)
    process.whenGone.push(stop)
    return stop
  }

  /** A message between a process and the server. Meanwhile the process may end or stand still. */
  #travel(process: SimulatedProcess, more = 0): Promise<void> {
    const { draw } = this.#scheduler
    const { faults, noted } = this.#settings
    if (draw.happens(faults.pause)) {
      process.pausedUntil = this.#scheduler.time + draw.integer(10, 2_000)
      noted('stands still', process, 'pause')
    }
    if (draw.happens(faults.clockJump)) {
      process.clockOffset += draw.integer(-3_600_000, 3_600_000)
      noted('has a clock that jumped', process, 'clockJump')
    }
    if (!process.isDurable && draw.happens(faults.crash)) {
      noted('crashes', process, 'crash')
      process.end()
    }
    return new Promise((resolve) => {
      this.#scheduler.after(process, this.#latency() + more, resolve)
    })
  }

  #latency(): number {
    return this.#scheduler.draw.number() * MAX_LATENCY_MS
  }

  #strikes(fault: FaultName, process: SimulatedProcess): boolean {
    if (!this.#scheduler.draw.happens(this.#settings.faults[fault])) return false
    this.#settings.noted(SAID[fault] ?? fault, process, fault)
    return true
  }
}

function unavailable(): StoreUnavailableError {
  return new StoreUnavailableError('the simulated store cannot be reached')
}

/** The answer of an append that was committed by an earlier attempt of the same call. */
function appendedBefore({ events, heads }: Extract<AppendVerdict, { kind: 'repeated' }>): Appended {
  return {
    kind: 'appended',
    revisions: events.map(({ revision }) => revision),
    positions: events.map(({ position }) => position),
    time: events[0]!.time,
    heads,
  }
}

const SAID: Partial<Record<FaultName, string>> = {
  lostAnswer: 'loses the answer to an append',
  ghost: 'gives up an append that arrives later',
  unavailable: 'does not reach the store',
  fullDisk: 'finds the disk full',
  cutRead: 'loses its connection while it reads',
  conflict: 'is slow to append',
  lostNotification: 'is not notified',
}

/** The longest that a message is under way, in milliseconds. */
const MAX_LATENCY_MS = 4
/** Milliseconds by which a slow append is late, and the longest that one which was given up is under way. */
const LATE_MS = 20
/** Milliseconds between two polls of a subscriber. */
const POLL_MS = 500
