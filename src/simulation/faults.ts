import { checkOptions } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'

/** What can go wrong, each with its probability, from 0 to 1. */
export interface Faults {
  /** An append, or a transaction of a projection, is committed, and its answer is lost. */
  readonly lostAnswer?: number
  /** An append, or a transaction of a projection, is given up, and arrives later. */
  readonly ghost?: number
  /** A call does not reach the store, or the database of the projections. */
  readonly unavailable?: number
  /** The disk is full when an append arrives, or a transaction of a projection ends. */
  readonly fullDisk?: number
  /** The connection is lost between two pages of a read. */
  readonly cutRead?: number
  /** Another writer is faster: an append, or a transaction of a projection, arrives late. */
  readonly conflict?: number
  /** A subscriber is not notified of an append. */
  readonly lostNotification?: number
  /** A process ends while it waits, and is started again. */
  readonly crash?: number
  /** A process stands still while it waits. */
  readonly pause?: number
  /** The clock of a process jumps, ahead or back. */
  readonly clockJump?: number
  /** A transaction of a projection is rolled back at its end. */
  readonly undone?: number
  /** The workers of projections lose their leases while they work. */
  readonly lostLease?: number
  /** After a command, somebody rebuilds a projection that names its tables. */
  readonly rebuild?: number
}

/** The name of a fault. */
export type FaultName = keyof Faults

export const FAULT_NAMES = [
  ...(['lostAnswer', 'ghost', 'unavailable', 'fullDisk', 'cutRead', 'conflict'] as const),
  ...(['lostNotification', 'crash', 'pause', 'clockJump', 'undone', 'lostLease', 'rebuild'] as const),
] satisfies readonly FaultName[]

const DEFAULT_FAULTS: Required<Faults> = {
  lostAnswer: 0.05,
  ghost: 0.03,
  unavailable: 0.03,
  fullDisk: 0.01,
  cutRead: 0.02,
  conflict: 0.1,
  lostNotification: 0.2,
  crash: 0.01,
  pause: 0.01,
  clockJump: 0.01,
  undone: 0.03,
  lostLease: 0.02,
  rebuild: 0.02,
}

/** @throws InvalidArgumentError */
export function checkFaults(faults: Faults | undefined): Required<Faults> {
  if (faults === undefined) return DEFAULT_FAULTS
  checkOptions(faults, 'faults', FAULT_NAMES)
  for (const name of FAULT_NAMES) {
    const probability = faults[name] ?? 0
    if (typeof probability !== 'number' || !(probability >= 0 && probability <= 1)) {
      throw new InvalidArgumentError(`faults.${name}`, 'a probability, from 0 to 1')
    }
  }
  return Object.fromEntries(
    FAULT_NAMES.map((name) => [name, faults[name] ?? 0]),
  ) as unknown as Required<Faults>
}
