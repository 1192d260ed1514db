export { after, at, cancelTimer } from './effects.ts'
export type { CancelTimer, Delay, Effect, Effects, ReactionCall, SetTimer } from './effects.ts'
export type { FiringTimer, ReactionTimersMessage } from './diagnostics.ts'
export { defineReaction } from './reaction.ts'
export type {
  CallableCommand,
  NameOf,
  NeedsOf,
  Reaction,
  ReactionDefinition,
  RejectedAnswer,
  RejectedBy,
} from './reaction.ts'
export { defineRelay } from './relay.ts'
export type { Relay, RelayDefinition } from './relay.ts'
export { timersIn } from './list.ts'
export { runReactions } from './run.ts'
export type { NeedsOfAll, RunningReactions, RunReactionsArguments, RunReactionsOptions } from './run.ts'
export type { ReactionControl, ReactionStatus, RelayControl, Timer, TimersOptions } from './control.ts'
export type { AnyCommandType, SendContext, StartAt } from './spec.ts'
