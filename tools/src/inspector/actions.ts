import { projectionsIn, unblockIn } from 'mneme/projections'

import type { Unblocked } from './api.ts'
import { type CallContext, CallError, optionalTextIn, textIn, wholeIn } from './call.ts'
import type { Served } from './inspector.ts'

/** The stream in which the inspector logs its actions. */
const ACTIONS_STREAM = 'MnemeTools-actions'
const MAX_REASON = 1_000

/**
 * Lets a projection, a reaction or a relay try again that is blocked. What was asked for is logged before it is done, so that there is
 * no action without an event of it.
 */
export async function unblock(
  { store, signal }: CallContext,
  input: unknown,
  { readModels, write }: Served,
): Promise<Unblocked> {
  if (!write) {
    const message = 'the inspector only reads: start it with --write, or give createInspector write: true'
    throw new CallError(message, { code: 'READ_ONLY', status: 403 })
  }
  const name = textIn(input, 'name')
  const database = wholeIn(input, 'database') ?? 0
  const reason = optionalTextIn(input, 'reason')
  if (reason !== undefined && reason.length > MAX_REASON) {
    throw new CallError(`'reason' has to be a text of at most ${String(MAX_REASON)} characters`)
  }
  const target = readModels[database]
  const stored = target && (await projectionsIn(target)).find((one) => one.name === name)
  if (!stored) {
    const message = `the databases of the inspector have no projection, reaction or relay '${name}'`
    throw new CallError(message, { code: 'NO_PROJECTION', status: 404 })
  }
  if (stored.state !== 'blocked' && stored.rebuild?.state !== 'blocked') {
    throw new CallError(`'${name}' is not blocked`, { code: 'NOT_BLOCKED', status: 409 })
  }
  const data = { name, kind: stored.kind, ...(reason !== undefined && { reason }) }
  const event = { type: 'MnemeTools.UnblockRequested', data }
  const { events } = await store.append({ stream: ACTIONS_STREAM, events: [event] }, { signal })
  const { stream, revision } = events[0]!
  return { wasBlocked: await unblockIn(target, name), logged: { stream, revision } }
}
