import type { EventStore } from 'mneme'
import {
  type Failure,
  parkedIn,
  projectionsIn,
  type ProjectionTarget,
  type StoredBuild,
  type StoredProjection,
} from 'mneme/projections'
import { timersIn } from 'mneme/reactions'

import type { Follower, FollowerDetail, FollowerFailure, Followers, Lag } from './api.ts'
import { messageOf } from '../cli/errors.ts'
import { type CallContext, CallError, textIn, wholeIn } from './call.ts'
import type { Served } from './inspector.ts'
import { show } from './shown.ts'

/** The projections, reactions and relays of all databases, with how far each is behind. */
export async function followers(
  { store, signal }: CallContext,
  _input: unknown,
  { readModels }: Served,
): Promise<Followers> {
  const identity = await store.identity()
  const found: Follower[] = []
  const failures: string[] = []
  for (const [database, target] of readModels.entries()) {
    try {
      for (const stored of await projectionsIn(target)) {
        found.push(await followerOf({ store, signal }, { database, stored, identity }))
      }
    } catch (error) {
      signal.throwIfAborted()
      failures.push(messageOf(error))
    }
  }
  return { followers: found, databases: readModels.length, failures }
}

/** One of them, with what it has set aside and its timers. */
export async function follower(
  { store, signal }: CallContext,
  input: unknown,
  { readModels, write }: Served,
): Promise<FollowerDetail> {
  const name = textIn(input, 'name')
  const database = wholeIn(input, 'database') ?? 0
  const target = readModels[database]
  const stored = target && (await projectionsIn(target)).find((one) => one.name === name)
  if (!stored) {
    const message = `the databases of the inspector have no projection, reaction or relay '${name}'`
    throw new CallError(message, { code: 'NO_PROJECTION', status: 404 })
  }
  const identity = await store.identity()
  const parked = await parkedIn(target, name)
  return {
    ...(await followerOf({ store, signal }, { database, stored, identity })),
    canUnblock: write && (stored.state === 'blocked' || stored.rebuild?.state === 'blocked'),
    parkedEvents: parked.slice(0, MAX_ROWS).map(({ event, failure }) => {
      const { stream, revision, type } = event
      return { stream, revision, type, failure: failureOf(failure) }
    }),
    timers: stored.kind === 'reaction' ? await timersOf(target, name) : [],
  }
}

async function timersOf(
  target: ProjectionTarget<unknown>,
  reaction: string,
): Promise<FollowerDetail['timers']> {
  const timers = await timersIn(target, reaction, { limit: MAX_ROWS })
  return timers.map(({ timer, due, state, command, input, event, failure }) => ({
    ...{ timer, due, state, command, input: show(input) },
    event: { stream: event.stream, revision: event.revision },
    ...(failure && { failure: failureOf(failure) }),
  }))
}

/** Of a page's timers and events set aside, so many are listed. */
const MAX_ROWS = 100

async function followerOf(
  context: CallContext,
  {
    database,
    stored,
    identity,
  }: { readonly database: number; readonly stored: StoredProjection; readonly identity: string },
): Promise<Follower> {
  const { name, kind, parked, rebuild } = stored
  const isOfStore = (build: StoredBuild) => build.store === undefined || build.store === identity
  const buildOf = async (build: StoredBuild): Promise<Follower['live']> => ({
    ...{ version: build.version, state: build.state, handled: build.handled },
    ...(build.failure && { failure: failureOf(build.failure) }),
    ...(isOfStore(build) && { lag: await lagOf(context, build.position) }),
  })
  return {
    ...{ name, kind, database, parked, live: await buildOf(stored) },
    ...(rebuild && { rebuild: await buildOf(rebuild) }),
  }
}

/** How much was appended behind a checkpoint, and when the first of it; only the program knows what of it is handled. */
async function lagOf(
  { store, signal }: { readonly store: EventStore; readonly signal: AbortSignal },
  after: string | undefined,
): Promise<Lag> {
  const { events, next } = await store.readAllPage({ after, limit: MAX_COUNTED_EVENTS, signal })
  const [first] = events
  return {
    events: events.length,
    isMore: next !== undefined,
    seconds: first ? Math.max(0, (Date.now() - Date.parse(first.time)) / 1_000) : 0,
  }
}

const MAX_COUNTED_EVENTS = 1_000

function failureOf({ message, code, attempts, time, event, timer }: Failure): FollowerFailure {
  return {
    ...{ message, attempts, time },
    ...(code !== undefined && { code }),
    ...(event && { event: { stream: event.stream, revision: event.revision } }),
    ...(timer !== undefined && { timer }),
  }
}
