import type { Environment } from '../base/environment.ts'
import { replaceEnvironment, systemEnvironment } from '../base/environment.ts'
import type { Draw } from './draw.ts'

/** A process of the simulation. What it waits for never comes once it is gone. */
export class SimulatedProcess implements Environment {
  readonly name: string
  isGone = false
  /** Whether it does not crash. */
  isDurable = false
  /** When it goes on, if it is paused. */
  pausedUntil = 0
  /** Milliseconds by which its computer's clock is ahead of the true time. */
  clockOffset = 0
  /** What is to be done when it is gone: by the server, say, which ends its connections. */
  readonly whenGone: (() => void)[] = []
  readonly #scheduler: Scheduler

  constructor(name: string, scheduler: Scheduler) {
    this.name = name
    this.#scheduler = scheduler
  }

  now(): number {
    return this.#scheduler.time
  }

  date(): number {
    return BEGINNING + Math.floor(this.#scheduler.time) + this.clockOffset
  }

  after(milliseconds: number, callback: () => void): () => void {
    return this.#scheduler.after(this, milliseconds, callback)
  }

  random(): number {
    return this.#scheduler.draw.number()
  }

  uuid(): string {
    return this.#scheduler.draw.uuid()
  }

  afterInBackground(milliseconds: number, callback: () => void): () => void {
    return this.after(milliseconds, callback)
  }

  nextTurn(callback: () => void): () => void {
    return this.after(0, callback)
  }

  end(): void {
    this.isGone = true
    for (const act of this.whenGone.splice(0)) act()
  }
}

/** Something that is due. */
interface Entry {
  at: number
  readonly order: number
  readonly process: SimulatedProcess
  readonly run: () => void
  isCancelled: boolean
}

/**
 * Virtual time. One thing happens at a time: a timer fires or an answer comes, the process that waited for it goes on until
 * it waits again, and only then the next thing happens.
 */
export class Scheduler {
  /** Milliseconds since the beginning. */
  time = 0
  readonly draw: Draw
  readonly #heap: Entry[] = []
  #order = 0

  constructor(draw: Draw) {
    this.draw = draw
  }

  after(process: SimulatedProcess, milliseconds: number, run: () => void): () => void {
    const entry = {
      at: this.time + Math.max(0, milliseconds),
      order: this.#order++,
      process,
      run,
      isCancelled: false,
    }
    this.#push(entry)
    return () => {
      entry.isCancelled = true
    }
  }

  /** Runs until `isOver` says so. @returns whether it did before the end, in virtual time. */
  async run(isOver: () => boolean, endsAt: () => number): Promise<boolean> {
    quiet ??= await findQuiet()
    // Timers and I/O of the program around the simulation get their turn.
    await immediate()
    try {
      while (!isOver()) {
        const entry = this.#pop()
        if (!entry || entry.at > endsAt()) return false
        const { process } = entry
        if (entry.isCancelled || process.isGone) continue
        if (process.pausedUntil > entry.at) {
          entry.at = process.pausedUntil
          this.#push(entry)
          continue
        }
        this.time = entry.at
        replaceEnvironment(process)
        entry.run()
        await quiet()
      }
      return true
    } finally {
      replaceEnvironment(undefined)
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap
    let at = heap.length
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(entry, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = entry
  }

  #pop(): Entry | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
    return first
  }
}

function isBefore(one: Entry, other: Entry): boolean {
  return one.at < other.at || (one.at === other.at && one.order < other.order)
}

type Quiet = () => Promise<void>

/** Resolves in a task of its own, which begins after all microtasks. */
const immediate: Quiet = () =>
  new Promise((resolve) => {
    systemEnvironment.nextTurn(resolve)
  })

/** Resolves after all microtasks, in the same task: a quarter of the time. */
const tick: Quiet = () =>
  new Promise((resolve) => {
    process.nextTick(resolve)
  })

/** Waits until every promise that can settle by itself has settled: the cheapest way of this runtime that does. */
async function findQuiet(): Promise<Quiet> {
  for (let i = 0; i < 2; i++) {
    let steps = 0
    const walk = async () => {
      for (; steps < 100; steps++) await Promise.resolve()
    }
    void walk()
    await tick()
    if (steps < 100) return immediate
  }
  return tick
}

let quiet: Quiet | undefined

/** The date at which every simulation begins. */
export const BEGINNING = Date.UTC(2020, 0, 1)
