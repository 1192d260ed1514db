import { type Boundary, type Command, type Decision, tryExecute } from 'mneme'

import type { TrialResult } from './api.ts'
import { messageOf } from '../cli/errors.ts'
import { type CallContext, CallError, objectIn, optionalTextIn, textIn } from './call.ts'
import { changesBetween } from './changes.ts'
import { findEvent } from './events.ts'
import type { Served } from './inspector.ts'
import { pastOf } from './past.ts'
import { preview, show } from './shown.ts'

type AnyCommand = Command<Boundary, Decision<Boundary>>

/** Decides a command on the store as it stood at an event, or as it stands. Appends nothing. */
export async function tryCommand(
  { store, signal }: CallContext,
  input: unknown,
  { program }: Served,
): Promise<TrialResult> {
  const name = textIn(input, 'command')
  const named = program.commands.find((command) => command.name === name)
  if (!named) throw new CallError(`the program has no command '${name}'`, { code: 'NO_COMMAND', status: 404 })
  const { at, with: given } = objectIn(input)
  const event = at === undefined ? undefined : await findEvent(store, at, signal)
  const through = event ? event.position : await store.logHead()
  const past = pastOf(store, through, signal)
  const as = {
    ...(event && { at: { stream: event.stream, revision: event.revision, time: event.time } }),
    ...(through !== undefined && { position: through }),
  }
  let before: unknown
  try {
    const command = named.command(given) as AnyCommand
    // The states that it decides on, in the shape in which it reads them.
    const watched: AnyCommand = {
      ...command,
      handle: (state, context) => {
        before = state
        return command.handle(state, context)
      },
    }
    const actor = optionalTextIn(input, 'actor')
    const metadata = actor === undefined ? {} : { actor }
    const options = { signal, metadata, needs: program.needs }
    const outcome = await tryExecute(past.store, watched, options)
    if (!outcome.ok)
      return { ...as, outcome: 'rejected', rejection: show(outcome.rejection), state: show(before) }
    const { changes, isMore } = changesBetween(before, outcome.state)
    return {
      ...as,
      outcome: 'accepted',
      events: past.appended.map(({ data, ...rest }) => ({
        ...rest,
        preview: preview(data),
        data: show(data),
      })),
      state: show(outcome.state),
      ...{ changes, isMore },
    }
  } catch (error) {
    if (signal.aborted || error instanceof CallError) throw error
    const { code } = Object(error) as { readonly code?: unknown }
    return {
      ...as,
      outcome: 'failed',
      error: {
        name: error instanceof Error ? error.name : 'Error',
        message: messageOf(error),
        ...(typeof code === 'string' && { code }),
      },
      ...(before !== undefined && { state: show(before) }),
    }
  } finally {
    await past.store.close()
  }
}
