import { environment } from '../base/environment.ts'
import { BEGINNING } from './scheduler.ts'

/** The clock of the process that executes a command: it jumps if `faults.clockJump` says so. */
export interface SimulatedClock {
  now(): Date
}

/** The clock of one command. It keeps what it said, so that decisions can be made again. */
export class CommandClock implements SimulatedClock {
  /** What it said while the command was executed, in any attempt. */
  readonly times = new Set<number>()
  /** Until the command is executed, time has not begun. */
  #at: number | undefined = BEGINNING

  readonly now = (): Date => {
    if (this.#at !== undefined) return new Date(this.#at)
    const date = environment.date()
    this.times.add(date)
    return new Date(date)
  }

  /** From now on it goes. */
  start(): void {
    this.#at = undefined
  }

  /** From now on it stands at a time. */
  stopAt(time: number): void {
    this.#at = time
  }
}
