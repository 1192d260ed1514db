import { type Environment, environment } from '../../base/environment.ts'
import { closeSync, openSync, readSync, statSync, writeSync } from 'node:fs'

/** The clocks that write turns go by: that of this process, and the date, which all processes of the machine share. */
export type TurnClock = Pick<Environment, 'now' | 'date'>

/**
 * Turns between processes that write one file. SQLite's lock has no queue: a busy writer takes it again the moment it
 * has released it, and other processes get it only by luck. So a process that has waited for some milliseconds writes
 * into a small file beside the database since when it waits, and that it still does. Writers that have waited for less
 * time, or not at all, then leave the lock free. A process that died or was stopped stops writing, and is skipped.
 *
 * The turns are a courtesy, not a lock: whatever happens to the file, SQLite's own lock protects the data.
 */
export class WriteTurns {
  readonly #path: string | undefined
  readonly #clock: TurnClock
  readonly #own = { since: 0, touched: 0, id: environment.random() }
  readonly #buffer = new Float64Array(3)
  #descriptor: number | undefined
  #isWaiting = false
  #lastLook = -Infinity
  /** Until when the lock is left to another process; 0: it is not. */
  #yieldUntil = 0
  /** Until when this process then writes without looking again. */
  #workUntil = 0

  /** @param path of the turn file; `undefined` if no other process can have the database open. */
  constructor(path: string | undefined, clock: TurnClock = environment) {
    this.#path = path
    this.#clock = clock
  }

  /** Whether another process has waited longer, so that the lock is to be left free. Reads the file every few ms. */
  isAnothers(): boolean {
    if (this.#path === undefined) return false
    const now = this.#clock.now()
    const hasLooked = now - this.#lastLook < LOOK_INTERVAL_MS && this.#yieldUntil === 0
    if (now < this.#workUntil || hasLooked) return false
    this.#lastLook = now
    if (!this.#isBehindAnother()) {
      this.#yieldUntil = 0
      return false
    }
    if (this.#yieldUntil === 0) this.#yieldUntil = now + MAX_YIELD_MS
    if (now < this.#yieldUntil) return true
    this.#yieldUntil = 0
    this.#workUntil = now + WORK_AFTER_YIELD_MS
    return false
  }

  /** Called at each attempt that did not get the lock: announces, after some milliseconds, that this process waits. */
  wait(): void {
    if (this.#path === undefined) return
    const now = this.#clock.date()
    const { since, touched } = this.#own
    if (!this.#isWaiting) {
      this.#isWaiting = true
      this.#own.since = now
    } else if (
      // Absolute, so that a process goes on announcing after the clock was set back.
      Math.abs(now - since) >= ANNOUNCE_AFTER_MS &&
      Math.abs(now - touched) >= ANNOUNCE_INTERVAL_MS &&
      !this.#isBehindAnother()
    ) {
      this.#own.touched = now
      this.#write(since, now, this.#own.id)
    }
  }

  /** This process got the lock. */
  taken(): void {
    if (this.#isWaiting) this.givenUp()
  }

  /** This process waits no more. */
  givenUp(): void {
    this.#isWaiting = false
    if (this.#own.touched === 0) return
    this.#own.touched = 0
    if (this.#read()?.id === this.#own.id) this.#write(0, 0, 0)
  }

  close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor)
    this.#descriptor = undefined
  }

  #isBehindAnother(): boolean {
    const first = this.#read()
    if (!first || first.id === this.#own.id) return false
    // A clock that was set back must not make a dead process look alive: hence the absolute value.
    if (Math.abs(this.#clock.date() - first.touched) > STALE_MS) return false
    return !this.#isWaiting || first.since < this.#own.since
  }

  #read(): { since: number; touched: number; id: number } | undefined {
    try {
      if (this.#descriptor === undefined && !this.#open(false)) return undefined
      const bytes = readSync(this.#descriptor!, this.#buffer, 0, this.#buffer.byteLength, 0)
      if (bytes < this.#buffer.byteLength) return undefined
      const [since = 0, touched = 0, id = 0] = this.#buffer
      return { since, touched, id }
    } catch {
      return undefined
    }
  }

  #write(since: number, touched: number, id: number): void {
    try {
      if (this.#descriptor === undefined && !this.#open(true)) return
      this.#buffer.set([since, touched, id])
      writeSync(this.#descriptor!, this.#buffer, 0, this.#buffer.byteLength, 0)
    } catch {
      // Then there are no turns: the disk may be full, for example.
    }
  }

  #open(isWanted: boolean): boolean {
    const path = this.#path!
    if (!isWanted && !statSync(path, { throwIfNoEntry: false })) return false
    // 'a+' would append at any offset; 'r+' makes no file.
    if (isWanted) closeSync(openSync(path, 'a'))
    this.#descriptor = openSync(path, 'r+')
    return true
  }
}

/** How long a process waits before it announces that. */
const ANNOUNCE_AFTER_MS = 4
/** How often it announces that it still waits. */
const ANNOUNCE_INTERVAL_MS = 5
/** After how long without an announcement a process is skipped. */
const STALE_MS = 40
/** How often a writer reads whether another process waits. */
const LOOK_INTERVAL_MS = 3
/** How long the lock is left free for a process that does not take it. */
const MAX_YIELD_MS = 25
/** How long the writer then works on before it leaves the lock free again. */
const WORK_AFTER_YIELD_MS = 5
