import type { SnapshotKeeper } from '../adapter/store-adapter.ts'
import { InvalidArgumentError, UnsupportedError } from '../base/errors.ts'
import { type AnyAggregate, foldOf } from '../model/aggregate.ts'
import type { SnapshotPlan } from '../model/stream.ts'
import type { StoreCore } from '../store/lifecycle.ts'

/** How an aggregate's states are kept. @throws InvalidArgumentError if they are not. */
export function snapshotPlanOf(aggregate: AnyAggregate, argument: string): SnapshotPlan<unknown> {
  const { snapshot } = foldOf(aggregate, argument)
  if (snapshot) return snapshot
  const message = `${aggregate.category} has no snapshots: give defineAggregate the option snapshot`
  throw new InvalidArgumentError(argument, { message })
}

/** Where a store keeps snapshots. @throws UnsupportedError if it keeps none. */
export function keeperOf({ snapshots }: StoreCore): SnapshotKeeper {
  if (snapshots) return snapshots
  throw new UnsupportedError('this store keeps no snapshots (capabilities.snapshots)')
}

/** The streams that have a snapshot, in pages. @throws UnsupportedError if the store cannot list them; the signal's reason. */
export async function* streamsWithSnapshot(
  core: StoreCore,
  { name }: SnapshotPlan<unknown>,
  signal: AbortSignal | undefined,
): AsyncGenerator<readonly string[], undefined> {
  const keeper = keeperOf(core)
  if (!keeper.list) {
    const message = 'this store cannot list the streams that have a snapshot: name them in the option streams'
    throw new UnsupportedError(message)
  }
  for (let after: string | undefined; ;) {
    signal?.throwIfAborted()
    const page = await core.track(() => keeper.list!({ name, after, limit: NAMES_PER_PAGE }))
    yield page
    if (page.length < NAMES_PER_PAGE) return undefined
    after = page.at(-1)
  }
}

const NAMES_PER_PAGE = 1_000
