import { checkList, checkOptions, checkSignal } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import type { AnyAggregate } from '../model/aggregate.ts'
import type { AnyStream } from '../model/stream.ts'
import { streamName } from '../store/arguments.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import { keeperOf, snapshotPlanOf, streamsWithSnapshot } from './snapshot-streams.ts'

/** Options of `copySnapshots`. */
export interface CopySnapshotsOptions {
  /** The streams whose snapshots are copied. Default: all that have one, if the store can list them. */
  readonly streams?: readonly (string | AnyStream)[] | undefined
  /** Stops between two streams, with its reason. */
  readonly signal?: AbortSignal | undefined
}

/** What `copySnapshots` has done. */
export interface CopiedSnapshots {
  /** How many snapshots were copied. */
  readonly copied: number
  /** How many streams have one there that is as new, or newer. */
  readonly present: number
  /** The streams whose snapshot was not copied, because its event is not in the other store. */
  readonly refused: readonly string[]
}

/**
 * Copies snapshots to a store that has the same events, after they were imported there. Streams whose beginning was truncated
 * can only be loaded from one; other streams are folded, so for these it saves time. It can be repeated.
 *
 * @throws UnsupportedError if a store keeps no snapshots, or cannot list their streams and `streams` is not given.
 * @throws InvalidArgumentError if an aggregate has no snapshots; the signal's reason.
 * @example
 * ```ts
 * import { openStore } from 'mneme'
 * import { copySnapshots, exportEvents, importEvents } from 'mneme/history'
 *
 * const copy = await openStore('postgres://localhost/house')
 * await importEvents(copy, exportEvents(store))
 * await copySnapshots(store, copy, [Door])
 * ```
 */
export async function copySnapshots(
  from: EventStore,
  to: EventStore,
  aggregates: readonly AnyAggregate[],
  options: CopySnapshotsOptions = {},
): Promise<CopiedSnapshots> {
  const [source, target] = [coreOf(from, 'from'), coreOf(to, 'to')]
  checkOptions(options, 'options', ['streams', 'signal'])
  const given = checkList(options.streams, 'streams', streamName)
  const signal = checkSignal(options.signal)
  const plans = checkList(aggregates, 'aggregates', snapshotPlanOf)
  if (!plans || plans.length === 0) throw new InvalidArgumentError('aggregates', 'a list of aggregates')
  const [read, kept] = [keeperOf(source), keeperOf(target)]
  let [copied, present] = [0, 0]
  const refused: string[] = []
  for (const plan of plans) {
    for await (const page of given ? [given] : streamsWithSnapshot(source, plan, signal)) {
      for (const stream of page) {
        signal?.throwIfAborted()
        const [snapshot, known] = await Promise.all([
          source.track(() => read.get(stream, plan.name)),
          target.track(() => kept.get(stream, plan.name)),
        ])
        if (!snapshot) continue
        if (known && known.revision >= snapshot.revision) present++
        else if (await target.track(() => kept.put({ ...snapshot, stream, name: plan.name }))) copied++
        else refused.push(stream)
      }
    }
  }
  return { copied, present, refused }
}
