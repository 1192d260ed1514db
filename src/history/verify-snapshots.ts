import { checkList, checkOptions, checkSignal, checkWhole } from '../base/arguments.ts'
import { environment } from '../base/environment.ts'
import { StreamTruncatedError } from '../base/errors.ts'
import { foldStream } from '../execution/fold.ts'
import { findSnapshot } from '../execution/snapshots.ts'
import { type AnyAggregate, foldOf } from '../model/aggregate.ts'
import type { AnyStream, SnapshotPlan } from '../model/stream.ts'
import { streamName } from '../store/arguments.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import { snapshotPlanOf, streamsWithSnapshot } from './snapshot-streams.ts'

/** Options of `verifySnapshots`. */
export interface VerifySnapshotsOptions {
  /** How many snapshots to verify, chosen at random. Default: 100. */
  readonly sample?: number | undefined
  /** The streams to choose from. Default: all that have a snapshot, if the store can list them. */
  readonly streams?: readonly (string | AnyStream)[] | undefined
  /** Stops between two streams, or two pages of one. */
  readonly signal?: AbortSignal | undefined
}

/** What `verifySnapshots` found. */
export type VerifiedSnapshots = SameSnapshots | DifferentSnapshots | NoSnapshots

/** Every snapshot that was compared holds the state that folding gives. */
export interface SameSnapshots {
  readonly outcome: 'same'
  /** How many snapshots were compared: at least 1. */
  readonly verified: number
  readonly skipped: SkippedStreams
}

/** Some snapshots hold another state than folding gives: raise the `version` of the aggregate's snapshots. */
export interface DifferentSnapshots {
  readonly outcome: 'different'
  /** How many snapshots were compared, those that differ among them. */
  readonly verified: number
  readonly different: readonly SnapshotDifference[]
  readonly skipped: SkippedStreams
}

/** There was no snapshot that could be compared, so nothing is known. */
export interface NoSnapshots {
  readonly outcome: 'nothing-verified'
  readonly skipped: SkippedStreams
}

/**
 * Streams without a snapshot that can be compared: none of the present version, one that cannot be read, one whose event is gone,
 * or one of a stream whose beginning was removed.
 */
export type SkippedStreams = readonly string[]

/** A snapshot whose state is not the one that folding gives. */
export interface SnapshotDifference {
  readonly stream: string
  readonly revision: number
  /** Where the states differ, like `state.items[3].price`; the first 10 places. */
  readonly paths: readonly string[]
}

/**
 * Folds streams that have a snapshot from their beginnings, and compares the states: finds an `apply` that was changed
 * without a new `version`. Reads only. `outcome` says whether there was anything to compare.
 *
 * @throws UnsupportedError if the store keeps no snapshots, or cannot list their streams and `streams` is not given.
 * @throws InvalidArgumentError if the aggregate has no snapshots.
 * @throws UnknownEventError, FoldError if a stream cannot be folded; the signal's reason.
 * @example
 * ```ts
 * const report = await verifySnapshots(store, Door, { sample: 20 })
 * if (report.outcome === 'different') {
 *   for (const { stream, paths } of report.different) console.log(stream, paths)
 * }
 * ```
 */
export async function verifySnapshots(
  store: EventStore,
  aggregate: AnyAggregate,
  options: VerifySnapshotsOptions = {},
): Promise<VerifiedSnapshots> {
  const core = coreOf(store)
  const { sample = 100 } = checkOptions(options, 'options', ['sample', 'streams', 'signal'])
  checkWhole(sample, 'sample', 1)
  const given = checkList(options.streams, 'streams', streamName)
  const signal = checkSignal(options.signal)
  const fold = foldOf(aggregate, 'aggregate')
  const plan = snapshotPlanOf(aggregate, 'aggregate')
  const names = given ? chosen(given, sample) : await listed(core, plan, sample, signal)
  const different: SnapshotDifference[] = []
  const skipped: string[] = []
  let verified = 0
  for (const stream of names) {
    signal?.throwIfAborted()
    const compared = await core.track(() => compare(core, { stream, fold, types: [] }, plan, signal))
    if (!compared) skipped.push(stream)
    else {
      verified++
      if (compared.paths.length > 0) different.push(compared)
    }
  }
  if (verified === 0) return { outcome: 'nothing-verified', skipped }
  if (different.length === 0) return { outcome: 'same', verified, skipped }
  return { outcome: 'different', verified, different, skipped }
}

/** @returns `undefined` if there is nothing to compare. */
async function compare(
  core: StoreCore,
  stream: AnyStream,
  plan: SnapshotPlan<unknown>,
  signal: AbortSignal | undefined,
): Promise<SnapshotDifference | undefined> {
  const found = await findSnapshot(core, stream)
  if (!found) return undefined
  const { revision, id } = found
  try {
    const folded = await foldStream(core, stream, { upTo: revision, fromBeginning: true, signal })
    if (folded.revision !== revision || folded.lastId !== id) return undefined
    const paths: string[] = []
    differ(plan.encode(folded.state as never), plan.encode(found.state as never), 'state', paths)
    return { stream: stream.stream, revision, paths }
  } catch (error) {
    if (error instanceof StreamTruncatedError) return undefined
    throw error
  }
}

/** A sample of the streams that have a snapshot, each as likely as another. */
async function listed(
  core: StoreCore,
  plan: SnapshotPlan<unknown>,
  sample: number,
  signal: AbortSignal | undefined,
): Promise<readonly string[]> {
  const names: string[] = []
  let seen = 0
  for await (const page of streamsWithSnapshot(core, plan, signal)) {
    for (const stream of page) {
      const place = seen++ < sample ? names.length : Math.floor(environment.random() * seen)
      if (place < sample) names[place] = stream
    }
  }
  return names
}

function chosen(streams: readonly string[], sample: number): readonly string[] {
  const left = [...new Set(streams)]
  while (left.length > sample) left.splice(Math.floor(environment.random() * left.length), 1)
  return left
}

/** Adds the places where two JSON values differ. */
function differ(a: unknown, b: unknown, path: string, paths: string[]): void {
  if (a === b || paths.length >= MAX_PATHS) return
  if (!isObject(a) || !isObject(b) || Array.isArray(a) !== Array.isArray(b)) {
    paths.push(path)
    return
  }
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const name = Array.isArray(a) ? `${path}[${key}]` : `${path}.${key}`
    differ((a as Json)[key], (b as Json)[key], name, paths)
  }
}

type Json = Readonly<Record<string, unknown>>

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

const MAX_PATHS = 10
