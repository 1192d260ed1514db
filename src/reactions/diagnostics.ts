import { type CallMessage, WatchedCalls } from '../base/diagnostics.ts'

/** The message of `tracing:mneme.reaction.timers:*`: timers of a reaction that are fired. */
export interface ReactionTimersMessage extends CallMessage {
  readonly reaction: string
  readonly timers: readonly FiringTimer[]
  /** Set before `asyncEnd`. `'failed'`: those that were not fired are retried. */
  outcome?: 'ok' | 'failed'
  /** Why it failed. */
  thrown?: unknown
}

/** A timer that is fired. */
export interface FiringTimer {
  readonly timer: string
  /** When it was due, in milliseconds since 1970. */
  readonly due: number
}

const firings = new WatchedCalls<ReactionTimersMessage>('mneme.reaction.timers')

/** Fires timers, watched if anything watches. */
export function watchTimers<T>(
  reaction: string,
  timers: readonly FiringTimer[],
  fire: () => Promise<T>,
): Promise<T> {
  if (!firings.isWatched) return fire()
  const message: ReactionTimersMessage = {
    reaction,
    timers: timers.map(({ timer, due }) => ({ timer, due })),
  }
  return firings.trace(message, fire, {
    returned() {
      message.outcome = 'ok'
    },
    threw(_, error) {
      message.outcome = 'failed'
      message.thrown = error
    },
  })
}
