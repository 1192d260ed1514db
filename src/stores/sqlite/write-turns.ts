import { closeSync, openSync, readSync, statSync, writeSync } from 'node:fs'

/**
 * Turns between processes that write one file. SQLite's lock knows no queue: a busy writer takes it again the
 * moment it let it go, and another meets it free only by luck. So who has waited for some milliseconds says so
 * in a small file beside the database, since when and that it still does; who has waited for less, or not at
 * all, leaves it the lock. One that died, or was stopped, is no longer waited for.
 *
 * This is courtesy, not a lock: whatever goes wrong with the file, SQLite's own lock keeps the data right.
 */
export class Turn {
  readonly #path: string | undefined
  readonly #own = { since: 0, touched: 0, id: Math.random() }
  readonly #buffer = new Float64Array(3)
  #descriptor: number | undefined
  #isWaiting = false
  #lastLook = 0
  /** Until when another is left the lock, and until when it is then not. */
  #yieldUntil = 0
  #workUntil = 0

  /** @param path of the file by which turns are taken; none where there are no other processes. */
  constructor(path: string | undefined) {
    this.#path = path
  }

  /** Whether another process has waited longer, and is to be left the lock. Looked up every few milliseconds. */
  isAnothers(): boolean {
    if (this.#path === undefined) return false
    const now = performance.now()
    if (now < this.#workUntil || (now - this.#lastLook < LOOK && this.#yieldUntil === 0)) return false
    this.#lastLook = now
    if (!this.#isBehindAnother()) {
      this.#yieldUntil = 0
      return false
    }
    if (this.#yieldUntil === 0) this.#yieldUntil = now + PATIENCE
    if (now < this.#yieldUntil) return true
    this.#yieldUntil = 0
    this.#workUntil = now + WORK
    return false
  }

  /** Says, after some milliseconds, that this process waits. */
  wait(): void {
    if (this.#path === undefined) return
    const now = Date.now()
    if (!this.#isWaiting) {
      this.#isWaiting = true
      this.#own.since = now
    } else if (
      now - this.#own.since >= MODEST &&
      now - this.#own.touched >= TOUCH &&
      !this.#isBehindAnother()
    ) {
      this.#own.touched = now
      this.#write(this.#own.since, now, this.#own.id)
    }
  }

  /** The lock was had. */
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
    if (!first || first.id === this.#own.id || Math.abs(Date.now() - first.touched) > STALE) return false
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
      // No courtesy then: a full disk, say.
    }
  }

  #open(isWanted: boolean): boolean {
    const path = this.#path!
    if (!isWanted && !statSync(path, { throwIfNoEntry: false })) return false
    // 'a+' would append whatever the offset says; 'r+' makes no file.
    if (isWanted) closeSync(openSync(path, 'a'))
    this.#descriptor = openSync(path, 'r+')
    return true
  }
}

/** All in milliseconds. How long one waits before saying so. */
const MODEST = 4
/** How often one says that it still waits. */
const TOUCH = 5
/** After how long without a word one is no longer waited for. */
const STALE = 40
/** How often a writer looks whether another waits. */
const LOOK = 3
/** How long the lock is left free for one that does not come. */
const PATIENCE = 25
/** How long one then works on before it is left free again. */
const WORK = 5
