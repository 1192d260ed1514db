import { checkBoolean, checkOptions, checkSignal, checkWhole } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import { checkFunction } from '../base/functions.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import { compareHistories } from './compare.ts'
import { Copier, type CopySettings } from './copier.ts'
import type { CopyProgress, CopyReport, FollowedCopy } from './copy-report.ts'
import { checkTransform, type CopyTransform } from './transform.ts'

/** Options of `copyHistory`. */
export interface CopyOptions {
  /** Says what becomes of each event. Default: it is copied as it is. */
  readonly transform?: CopyTransform | undefined
  /** Write nothing: read, transform, count and take samples. Default: `false`. */
  readonly dryRun?: boolean | undefined
  /** How many events that a transform changes to show in the report. Default: 5. */
  readonly samples?: number | undefined
  /** Compare both stores at the end, as `compareHistories` does. Default: `false`. */
  readonly verify?: boolean | undefined
  /** Called after each batch. */
  readonly onProgress?: ((progress: CopyProgress) => void) | undefined
  /** Ends it between two batches, with its reason. What was copied stays, and another run goes on. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Copies the history of a store into another one, as far as it stands now: events with their ids, times, versions, metadata and
 * idempotency keys, in the order of the log; truncations and deletions; streams without their beginning.
 *
 * It can be killed at any moment: run again, it finds its place by what the target has, and gives the same result. Nothing is
 * written twice. The target has to be empty, or hold an earlier part of the same history.
 *
 * @throws ImportConflictError if the target has other events than the source.
 * @throws InvalidArgumentError if an option or what a transform returns is wrong; UnsupportedError, and the errors of `append`.
 * @example
 * ```ts
 * import { openStore } from 'mneme'
 * import { copyHistory } from 'mneme/history'
 *
 * const [from, to] = [await openStore('sqlite:bank.db'), await openStore('postgres://localhost/bank')]
 * const { appended, comparison } = await copyHistory(from, to, { verify: true })
 * console.log(appended, comparison?.isSame)
 * ```
 */
export async function copyHistory(
  from: EventStore,
  to: EventStore,
  options: CopyOptions = {},
): Promise<CopyReport> {
  const settings = checkCopy(options, ['transform', 'dryRun', 'samples', 'verify', 'onProgress', 'signal'])
  const { dryRun = false, verify = false } = options
  for (const [name, value] of Object.entries({ dryRun, verify })) checkBoolean(value, `options.${name}`)
  const copier = new Copier(...stores(from, to), { ...settings, dryRun })
  const { signal, transform } = settings
  const head = await from.logHead()
  await copier.begin()
  if (head !== undefined) await copier.copyUpTo(head, signal)
  copier.end()
  if (!verify || dryRun) return copier.report(undefined)
  return copier.report(await compareHistories(from, to, { to: head, transform, signal }))
}

/** Options of `followHistory`. */
export interface FollowOptions extends Omit<CopyOptions, 'dryRun' | 'verify'> {
  /** Called when one of the stores cannot be reached, each time before a retry. */
  readonly onInterrupted?: ((error: unknown) => void) | undefined
}

/**
 * Copies as `copyHistory` does, and goes on with each event that is appended to the source, within milliseconds, until it is
 * stopped. While a store cannot be reached, it waits and tries again.
 *
 * @throws InvalidArgumentError
 * @example
 * ```ts
 * import { openStore } from 'mneme'
 * import { followHistory } from 'mneme/history'
 *
 * const [from, to] = [await openStore('sqlite:bank.db'), await openStore('postgres://localhost/bank')]
 * const copy = followHistory(from, to)
 * await copy.caughtUp()
 * await copy.stop()
 * ```
 */
export function followHistory(from: EventStore, to: EventStore, options: FollowOptions = {}): FollowedCopy {
  const settings = checkCopy(options, ['transform', 'samples', 'onProgress', 'signal', 'onInterrupted'])
  const { onInterrupted = () => undefined } = options
  checkFunction(onInterrupted, 'onInterrupted')
  return new Copier(...stores(from, to), { ...settings, dryRun: false }).follow(
    settings.signal,
    onInterrupted,
  )
}

function stores(from: EventStore, to: EventStore) {
  const cores = [coreOf(from), coreOf(to)] as const
  if (cores[0].adapter !== cores[1].adapter) return cores
  throw new InvalidArgumentError('to', { message: 'a store cannot be copied into itself; give another one' })
}

function checkCopy<T extends CopyOptions>(
  options: T,
  known: readonly (keyof T & string)[],
): CopySettings & { readonly signal: AbortSignal | undefined } {
  checkOptions(options, 'options', known)
  const { onProgress = () => undefined, samples = 5 } = options
  checkFunction(onProgress, 'onProgress')
  return {
    transform: checkTransform(options.transform),
    samples: checkWhole(samples, 'samples', 0),
    onProgress,
    signal: checkSignal(options.signal),
    dryRun: false,
  }
}
