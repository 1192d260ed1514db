import type { Boundary } from '../model/command.ts'
import { isStream } from '../model/stream.ts'
import { executions, type ExecuteMessage, noteError, withMetadata } from '../store/diagnostics.ts'
import { listStreams } from './boundary.ts'
import type { Call, CallOutcome, ExecuteOptions } from './call.ts'

/** Executes a command; `began` is called with it once its arguments are checked. */
export type Perform = (options: ExecuteOptions, began?: (call: Call) => void) => Promise<CallOutcome>

/** Executes a command, watched if anything watches. */
export function watchExecution(
  command: unknown,
  options: ExecuteOptions,
  perform: Perform,
): Promise<CallOutcome> {
  if (!executions.isWatched) return perform(options)
  const { name, reads } = Object(command) as { readonly name?: unknown; readonly reads?: unknown }
  const given = withMetadata(options)
  const message: ExecuteMessage = {
    command: typeof name === 'string' ? name : undefined,
    streams: namesOf(reads),
    metadata: given.metadata,
  }
  let call: Call | undefined
  const noteCall = () => {
    message.attempts = call?.attempts ?? 0
    message.conflicts = call?.conflicts ?? 0
    message.isCached = call?.isCached ?? false
  }
  return executions.trace(message, () => perform(given.options(), (begun) => (call = begun)), {
    returned(_, outcome) {
      if (!outcome.ok) message.reason = outcome.rejection.reason
      message.outcome = !outcome.ok ? 'rejected' : outcome.repeated ? 'repeated' : 'ok'
      message.events = outcome.ok ? outcome.events.length : 0
      noteCall()
    },
    threw(_, error) {
      noteError(message, error)
      noteCall()
    },
  })
}

/** The names of the streams that a command reads, each once; none if its `reads` is wrong. */
function namesOf(reads: unknown): string[] {
  try {
    const boundary = reads as Boundary
    if (isStream(boundary)) return [boundary.stream]
    return [...new Set(listStreams(boundary).map(({ stream }) => stream))]
  } catch {
    return []
  }
}
