import { StoreUnavailableError } from '../base/errors.ts'
import type { FaultName, Faults } from './faults.ts'
import type { Scheduler, SimulatedProcess } from './scheduler.ts'

/** What a network does and suffers. */
export interface NetworkSettings {
  readonly faults: Required<Faults>
  /** Told of what happens to a process, and whether that is a fault. */
  readonly noted: (what: string, process: SimulatedProcess, fault?: FaultName) => void
}

/** What lies between the processes of a simulation and their servers: messages take time, and faults strike. */
export class Network {
  /** What is still under way although its sender has given it up. */
  ghosts = 0
  readonly scheduler: Scheduler
  /** The servers, which do not fail: what is under way arrives, whatever becomes of its sender. */
  readonly #servers: SimulatedProcess
  readonly #settings: NetworkSettings

  constructor(servers: SimulatedProcess, scheduler: Scheduler, settings: NetworkSettings) {
    this.#servers = servers
    this.scheduler = scheduler
    this.#settings = settings
  }

  /** A message between a process and a server. Meanwhile the process may end or stand still. */
  travel(process: SimulatedProcess, more = 0): Promise<void> {
    const { draw } = this.scheduler
    const { faults, noted } = this.#settings
    if (draw.happens(faults.pause)) {
      process.pausedUntil = this.scheduler.time + draw.integer(10, 2_000)
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
      this.scheduler.after(process, this.latency() + more, resolve)
    })
  }

  /** A message of a writer, which may be late. */
  travelToWrite(process: SimulatedProcess): Promise<void> {
    return this.travel(process, this.strikes('conflict', process) ? LATE_MS : 0)
  }

  /** @throws StoreUnavailableError if a call does not reach its server. */
  reach(process: SimulatedProcess): void {
    if (this.strikes('unavailable', process)) throw unavailable()
  }

  /** Does what its sender has given up, later. */
  arriveLate(work: () => void): void {
    this.ghosts++
    this.scheduler.after(this.#servers, this.scheduler.draw.integer(1, LATE_MS), () => {
      this.ghosts--
      work()
    })
  }

  /** How long a message is under way, in milliseconds. */
  latency(): number {
    return this.scheduler.draw.number() * MAX_LATENCY_MS
  }

  strikes(fault: FaultName, process: SimulatedProcess): boolean {
    if (!this.scheduler.draw.happens(this.#settings.faults[fault])) return false
    this.#settings.noted(SAID[fault] ?? fault, process, fault)
    return true
  }
}

export function unavailable(): StoreUnavailableError {
  return new StoreUnavailableError('the simulated server cannot be reached')
}

const SAID: Partial<Record<FaultName, string>> = {
  lostAnswer: 'loses the answer to a write',
  ghost: 'gives up a write that arrives later',
  unavailable: 'does not reach the server',
  fullDisk: 'finds the disk full',
  cutRead: 'loses its connection while it reads',
  conflict: 'is slow to write',
  lostNotification: 'is not notified',
  undone: 'has its transaction undone',
  lostLease: 'loses its lease',
  rebuild: 'begins to rebuild a projection',
}

/** The longest that a message is under way, in milliseconds. */
const MAX_LATENCY_MS = 4
/** Milliseconds by which a slow write is late, and the longest that one which was given up is under way. */
const LATE_MS = 20
