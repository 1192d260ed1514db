import { checkOptions, checkWhole } from '../base/arguments.ts'
import { checkFunction } from '../base/functions.ts'
import { InvalidArgumentError, ProjectionVersionError, quote } from '../base/errors.ts'
import type { ProjectionTarget } from '../adapter/projection-target.ts'
import { coreOf } from '../store/create-store.ts'
import { lacking } from '../store/arguments.ts'
import type { EventStore } from '../store/event-store.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import { placeOf } from '../store/subscription.ts'
import { executor } from '../execution/executor.ts'
import type { Metadata } from '../model/metadata.ts'
import {
  adoptVersion,
  beginBuild,
  type Build,
  checkpointAt,
  type Failure,
  findBuilds,
  ofKind,
} from '../projections/builds.ts'
import type { Followed } from '../projections/handling.ts'
import { Progress } from '../projections/progress.ts'
import { LEASE_MS } from '../projections/projection.ts'
import { NextLook } from '../projections/next-look.ts'
import { type CommonTask, Running } from '../projections/running.ts'
import { prepareTarget } from '../projections/schema.ts'
import { Worker } from '../projections/worker.ts'
import type { ReactionStatus } from './control.ts'
import { type Execute, Performer } from './perform.ts'
import { DefinedReaction, type Reaction } from './reaction.ts'
import { Reacting } from './reacting.ts'
import { DefinedRelay, type Relay } from './relay.ts'
import { Relaying } from './relaying.ts'
import { followedIn, type FollowerSpec } from './spec.ts'

/** Options of `runReactions`. */
export interface RunReactionsOptions {
  /** The database that holds their state: checkpoints, timers and parked events. Made by `sqliteTarget` or `postgresTarget`. */
  readonly state: ProjectionTarget<unknown>
  /** Stored with every event of their commands, beside `causation` and `correlation`. */
  readonly metadata?: Metadata | (() => Metadata | undefined) | undefined
  /** How many sequences of a reaction are worked on at once. Default: 64. */
  readonly concurrency?: number | undefined
  /** Milliseconds after which another process takes over from a silent one. Default: 10,000 ms. */
  readonly lease?: number | undefined
  /**
   * Called with each failure, also with those that are retried; and once with why a reaction is blocked, if an earlier run or
   * another process blocked it. Log it.
   */
  readonly onFailure?: ((failure: Failure, reaction: Reaction<never> | Relay) => void) | undefined
}

/** The options of `runReactions`, with `needs` required if a command of the reactions has some. */
export type RunReactionsArguments<R extends readonly unknown[]> =
  {} extends NeedsOfAll<R>
    ? RunReactionsOptions & { readonly needs?: object | undefined }
    : RunReactionsOptions & { readonly needs: NeedsOfAll<R> }

/** What the commands of all reactions of a list need. */
export type NeedsOfAll<R extends readonly unknown[]> = (
  R[number] extends infer One
    ? One extends { readonly '~needs'?: ((needs: infer Needs) => void) | undefined }
      ? (needs: Needs) => void
      : never
    : never
) extends (all: infer All) => void
  ? unknown extends All
    ? {}
    : [All] extends [never]
      ? {}
      : All
  : {}

/** Running reactions and relays. Made by `runReactions`. */
export interface RunningReactions {
  /**
   * Resolves when every event that is stored now has been handled, by this process or another one: the commands that followed
   * at once were executed, and timers are set. What those commands appended may follow later.
   *
   * @throws NotCaughtUpError after `timeout` milliseconds (default: none); ProjectionBlockedError; the error that ended one.
   */
  caughtUp(options?: { readonly timeout?: number | undefined }): Promise<void>
  /** The status of each of them. */
  status(): Promise<readonly ReactionStatus[]>
  /** Ends the work after the current calls, and gives the leases back. Closing the store does so, too. */
  stop(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Runs reactions and relays. Call it in as many processes as you like: one worker runs each, the others stand by.
 *
 * Resolves when all of them have been started. Nothing is thrown afterwards: a failure is retried, or blocks the reaction,
 * which its `status` shows; `onFailure` is called with each.
 *
 * @throws UnsupportedError if the store keeps no idempotency keys, which reactions need; relays do not.
 * @throws ProjectionVersionError if a newer version of a reaction was run; OpenError, StoreUnavailableError and so on if the
 *   state or the store cannot be reached; InvalidArgumentError
 * @example
 * ```ts
 * const bell = defineRelay({ name: 'bell', from: [Door], startAt: 'end', send: async () => console.log('ding') })
 * const running = await runReactions(store, [bell], { state: readModels })
 * await running.caughtUp()
 * await running.stop()
 * ```
 */
export async function runReactions<const R extends readonly (Reaction<never> | Relay)[]>(
  store: EventStore,
  reactions: R,
  options: RunReactionsArguments<R>,
): Promise<RunningReactions> {
  const known = ['state', 'metadata', 'concurrency', 'lease', 'onFailure', 'needs'] as const
  const given = checkOptions(
    options as RunReactionsOptions & { readonly needs?: object | undefined },
    'options',
    known,
  )
  const { state, metadata, needs, concurrency = 64, lease = LEASE_MS, onFailure = () => undefined } = given
  if (typeof (state as Partial<typeof state> | undefined)?.transaction !== 'function') {
    throw new InvalidArgumentError('options.state', 'a target, like sqliteTarget(...) or postgresTarget(...)')
  }
  checkWhole(concurrency, 'options.concurrency', 1)
  checkFunction(onFailure, 'options.onFailure')
  checkWhole(lease, 'options.lease', 100)
  const core = coreOf(store)
  const defined = checkReactions(reactions)
  const needing = defined.find(({ spec }) => spec.kind === 'reaction')
  if (needing && !core.capabilities.keys) {
    const what = `reaction '${needing.name}' cannot run, because this store keeps no idempotency keys`
    throw lacking(what, core.capabilities)
  }
  const { tryExecute } = executor(store, { needs, metadata })
  await prepareTarget(state)
  for (const { spec } of defined) await ensureBuild(spec, state, core)
  const all = defined.map((each) => {
    const followed = followedIn(each.spec, state)
    return {
      progress: new Progress(followed),
      work: (task: CommonTask) => work(each, followed, { task, tryExecute, concurrency }),
      failed: (failure: Failure): unknown => onFailure(failure, each),
    }
  })
  const running = new Running(store, all, { core, lease })
  const stop = () => running.stop()
  return {
    caughtUp: (asked) => running.caughtUp(asked),
    status: () => Promise.all(defined.map((each) => each.in(state).status(store))),
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

interface Run {
  readonly task: CommonTask
  readonly tryExecute: Execute
  readonly concurrency: number
}

/** Works on a reaction or a relay until it is told to stop. */
async function work(
  { spec }: DefinedReaction | DefinedRelay,
  definition: Followed,
  { task, tryExecute, concurrency }: Run,
): Promise<void> {
  const { target } = definition
  const worker = new Worker({
    ...task,
    definition,
    handle: (holder, signal, isExpired) =>
      spec.kind === 'relay'
        ? new Relaying({ spec, target, holder, signal })
        : new Reacting({
            ...{ spec, target, holder, signal, concurrency },
            core: task.core,
            performer: new Performer(spec, { execute: tryExecute, signal, isExpired }),
          }),
    choose: ({ live }) => live,
    caughtUp: () => Promise.resolve(true),
  })
  await worker.run()
}

/**
 * Creates the row that holds the checkpoint, with the place where the reaction begins; or continues one of an earlier version
 * as one of this version.
 *
 * @throws ProjectionVersionError if a newer version was run.
 */
async function ensureBuild(
  spec: FollowerSpec,
  target: ProjectionTarget<unknown>,
  core: StoreCore,
): Promise<void> {
  const { kind, name, version } = spec
  for (;;) {
    const { live, next } = await target.read(() => findBuilds(name))
    if (live) {
      ofKind(live, kind)
      if (live.version === version) return
      if (live.version > version) {
        const at = { projection: name, defined: version, built: live.version }
        throw new ProjectionVersionError(at, 'run the newer program', kind)
      }
      await target.transaction(() => adopt(live, version), LEASE_MS)
      NextLook.isChanged(name)
      continue
    }
    const checkpoint = await checkpointFor(core, spec)
    const build = { kind, name, version, generation: next, role: 'live', checkpoint } as const
    await target.transaction(() => beginBuild(build), LEASE_MS)
  }
}

function* adopt(live: Build, version: number) {
  yield* adoptVersion(live, version)
}

/** @throws InvalidArgumentError if it begins at a text that is no position of this store's. */
async function checkpointFor(core: StoreCore, { kind, name, startAt }: FollowerSpec) {
  const place = await placeOf(core, startAt).catch((error: unknown) => {
    if (!(error instanceof InvalidArgumentError)) throw error
    const message = `startAt of ${kind} '${name}' must be 'start', 'end' or a position that this store gave, not ${quote(startAt)}`
    throw new InvalidArgumentError('startAt', { message })
  })
  return place && checkpointAt(await core.identity(), place)
}

/** @throws InvalidArgumentError */
export function checkReactions(given: readonly unknown[]): readonly (DefinedReaction | DefinedRelay)[] {
  if (!Array.isArray(given)) {
    throw new InvalidArgumentError('reactions', 'a list of what defineReaction and defineRelay made')
  }
  const names = new Set<string>()
  return (given as readonly unknown[]).map((each, i) => {
    const argument = `reactions[${String(i)}]`
    if (!(each instanceof DefinedReaction || each instanceof DefinedRelay)) {
      throw new InvalidArgumentError(argument, 'made by defineReaction or defineRelay')
    }
    if (names.has(each.name)) throw new InvalidArgumentError(argument, 'of another name than those before')
    names.add(each.name)
    return each
  })
}
