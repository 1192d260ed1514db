import { checkOptions, checkWhole } from '../base/arguments.ts'
import { InvalidArgumentError, InvalidDataError } from '../base/errors.ts'
import { checkFunction } from '../base/functions.ts'
import { copyPlainData } from './json.ts'
import { checkDefinitionName } from './names.ts'
import type { SnapshotPlan } from './stream.ts'

/** When snapshots of an aggregate's states are written, and which may be used. */
export interface SnapshotOptions {
  /**
   * The version of the fold, from 1. Raise it whenever `initial`, `apply` or an upcast gives another state than before:
   * snapshots of other versions are not used.
   */
  readonly version: number
  /** How many events of a stream come between two of its snapshots. */
  readonly every: number
  /** Default: the name of the aggregate. Aggregates that fold the same streams to different states need different names. */
  readonly name?: string | undefined
}

/** Snapshots of states that are JSON. */
export interface PlainSnapshots extends SnapshotOptions {
  readonly toJson?: undefined
  readonly fromJson?: undefined
}

/** Snapshots of states that are not JSON: instances of classes, or with Maps, Sets or Dates in them. */
export interface ConvertedSnapshots<State, Json> extends SnapshotOptions {
  /** A state as JSON, with everything that `fromJson` needs. */
  readonly toJson: (state: State) => Json
  /** The state of that JSON: equal to the one that folding gives. */
  readonly fromJson: (json: Json) => State
}

/** The plan of an aggregate's snapshots. @throws InvalidArgumentError */
export function snapshotPlan(
  aggregate: string,
  options: SnapshotOptions & Partial<ConvertedSnapshots<never, unknown>>,
  { initial, isClass }: { readonly initial: () => unknown; readonly isClass: boolean },
): SnapshotPlan<unknown> {
  checkOptions(options, 'snapshot', ['version', 'every', 'name', 'toJson', 'fromJson'])
  const { version, every, name = aggregate, toJson, fromJson } = options
  checkDefinitionName(name, 'snapshot.name')
  if ((toJson === undefined) !== (fromJson === undefined) || (isClass && !toJson)) {
    const message = isClass
      ? `snapshot of ${aggregate}: the state is an instance of a class; give toJson and fromJson`
      : `snapshot of ${aggregate}: give both toJson and fromJson, or neither`
    throw new InvalidArgumentError('snapshot', { message })
  }
  if (toJson) checkFunction(toJson, 'snapshot.toJson')
  if (fromJson) checkFunction(fromJson, 'snapshot.fromJson')
  const plan: SnapshotPlan<unknown> = {
    name,
    version: checkWhole(version, 'snapshot.version', 1),
    every: checkWhole(every, 'snapshot.every', 1),
    encode: (state) => copyPlainData(toJson ? toJson(state) : state, `the state of ${aggregate}`),
    decode: (json) => (fromJson ? fromJson(json) : json),
  }
  checkInitial(plan, initial)
  return Object.freeze(plan)
}

/** A state that is not JSON should be noticed when the program starts. @throws InvalidArgumentError */
function checkInitial(plan: SnapshotPlan<unknown>, initial: () => unknown): void {
  try {
    plan.encode(initial() as never)
  } catch (error) {
    // What `initial` or `toJson` throw is told by whoever calls them next.
    if (!(error instanceof InvalidDataError)) return
    const message = `${error.message}. Keep JSON in the state, or give snapshot.toJson and snapshot.fromJson`
    throw new InvalidArgumentError('snapshot', { message }, { cause: error })
  }
}
