import { type CallMessage, type OutcomeNote, WatchedCalls, WatchedEvents } from '../base/diagnostics.ts'
import { ConflictError, type MnemeError } from '../base/errors.ts'
import type { ExpectedRevision, Position, Revision } from '../base/revision.ts'
import { isPlain } from '../model/json.ts'
import type { Metadata } from '../model/metadata.ts'
import type { AppendOptions, AppendResult } from './event-store.ts'
import type {
  AppendRequest,
  AppendVerdict,
  Direction,
  StoredEvent,
  SubscribedPage,
} from '../adapter/store-adapter.ts'

/** The message of `tracing:mneme.execute:*`: one command, from the call to its outcome. */
export interface ExecuteMessage extends CallMessage {
  /** The command's `name`, if it has one. */
  readonly command: string | undefined
  /** The names of the streams in its `reads`. */
  readonly streams: readonly string[]
  /** Stored with its events. A subscriber of `start` may add keys to it. */
  readonly metadata: Record<string, string | undefined>
  /** From here on: set before `asyncEnd`. A rejection is no error. */
  outcome?: 'ok' | 'rejected' | 'conflict' | 'repeated' | 'error'
  /** The reason of the rejection. */
  reason?: string | undefined
  /** How often `handle` ran. */
  attempts?: number
  /** How often its append met a conflict, also on a cached state that was out of date. */
  conflicts?: number
  /** Whether the last attempt decided on cached states alone. */
  isCached?: boolean
  /** How many events it recorded. */
  events?: number
}

/** The message of `tracing:mneme.append:*`: one append, of `store.append` or of commands that are appended together. */
export interface AppendMessage extends CallMessage {
  /** How many commands decided on its events; 0: it is a call of `store.append`. */
  readonly commands: number
  /** Of `store.append` only: stored with its events. A subscriber of `start` may add keys to it. */
  readonly metadata: Record<string, string | undefined> | undefined
  /** The names of its streams, written or only read; none until the arguments of `store.append` were checked. */
  streams: readonly string[]
  /** How many events it has. */
  events: number
  /** Set before `asyncEnd`. */
  outcome?: 'ok' | 'conflict' | 'repeated' | 'error'
}

/** The message of `tracing:mneme.read:*`: one page of a stream or of the log. */
export interface ReadMessage extends CallMessage {
  /** The stream's name; `undefined`: the log. */
  readonly stream: string | undefined
  readonly direction: Direction
  /** How many events the page has. Set before `asyncEnd`. */
  events?: number
}

/** The message of `mneme.conflict`: a command's append met a conflict. */
export interface ConflictMessage {
  readonly command: string | undefined
  readonly stream: string
  readonly expected: ExpectedRevision
  readonly actual: Revision
  /** The attempt that met it, from 1. */
  readonly attempt: number
  /** Whether it used up a retry: a cached state that was out of date does not. */
  readonly counts: boolean
}

/** The message of `mneme.subscription.page`: a subscription received a page, which may be empty. */
export interface SubscriptionPageMessage {
  readonly events: readonly StoredEvent[]
  /** Up to where the log was read. */
  readonly position: Position | undefined
  readonly isCaughtUp: boolean
}

/** The message of `mneme.subscription.interrupted`: a subscription lost its store, and continues by itself. */
export interface SubscriptionInterruptedMessage {
  readonly error: MnemeError
}

/** The message of `mneme.snapshot`: a snapshot was looked for, used or not, or written or not. */
export interface SnapshotMessage {
  readonly action: 'read' | 'write'
  readonly stream: string
  /** The name of the aggregate's snapshots. */
  readonly name: string
  /**
   * Of reading: `used`; `missing`; `unusable`, for the `reason`; `failed`: the store did not give it. If it was not used, the
   * stream was folded from its beginning. Of writing: `written`; `refused`: its event is no longer in the stream; `skipped`:
   * the same one is being written, too many wait, or the store is being closed; `failed`.
   */
  readonly outcome: 'used' | 'missing' | 'unusable' | 'written' | 'refused' | 'skipped' | 'failed'
  /**
   * Why it is unusable. `version`: of another version of the fold; `history`: its event is not in the stream; `later`: it is
   * of a later event than was asked for; `fold`: `apply` threw on it; `unreadable`: it is damaged, or in an unknown format.
   */
  readonly reason?: 'version' | 'history' | 'later' | 'fold' | 'unreadable'
  /** The revision of the snapshot, if there is one. */
  readonly revision?: number
  readonly error?: unknown
}

export const executions = new WatchedCalls<ExecuteMessage>('mneme.execute')
const appends = new WatchedCalls<AppendMessage>('mneme.append')
const reads = new WatchedCalls<ReadMessage>('mneme.read')
export const conflicts = new WatchedEvents<ConflictMessage>('mneme.conflict')
const pages = new WatchedEvents<SubscriptionPageMessage>('mneme.subscription.page')
const interruptions = new WatchedEvents<SubscriptionInterruptedMessage>('mneme.subscription.interrupted')

const snapshots = new WatchedEvents<SnapshotMessage>('mneme.snapshot')

/** What options of a call are handed on, once subscribers may have added to their metadata. */
export function withMetadata<Options extends { readonly metadata?: Metadata | undefined }>(
  options: Options,
): { readonly metadata: Record<string, string | undefined>; readonly options: () => Options } {
  const given: unknown = (options as Options | null)?.metadata
  // Wrong options are left to those who say what is wrong with them.
  const isUsable =
    typeof options === 'object' &&
    (options as Options | null) !== null &&
    (given === undefined || (typeof given === 'object' && given !== null && isPlain(given)))
  const metadata = isUsable ? { ...(given as Metadata | undefined) } : {}
  return { metadata, options: () => (isUsable ? { ...options, metadata } : options) }
}

/** Appends for a caller of `store.append`, watched if anything watches. */
export function watchAppend(options: AppendOptions | undefined, append: Append): Promise<AppendResult> {
  return appends.isWatched ? traceAppend(append, options) : append(options)
}

/** Appends; `encodedAs` is called once the arguments are checked. */
type Append = (
  options: AppendOptions | undefined,
  encodedAs?: (request: AppendRequest) => void,
) => Promise<AppendResult>

function traceAppend(append: Append, options: AppendOptions = {}): Promise<AppendResult> {
  const given = withMetadata(options)
  const message: AppendMessage = { commands: 0, metadata: given.metadata, streams: [], events: 0 }
  const encodedAs = ({ conditions, events }: AppendRequest) => {
    message.streams = namesOf(conditions)
    message.events = events.length
  }
  return appends.trace(message, () => append(given.options(), encodedAs), NOTE_RESULT)
}

const NOTE_RESULT: OutcomeNote<AppendMessage, AppendResult> = {
  returned: (message, { repeated }) => (message.outcome = repeated ? 'repeated' : 'ok'),
  threw: noteError,
}

/** Appends for commands, watched if anything watches. */
export function watchCommit(
  request: AppendRequest,
  commands: number,
  commit: () => Promise<AppendVerdict>,
): Promise<AppendVerdict> {
  if (!appends.isWatched) return commit()
  const { conditions, events } = request
  const message: AppendMessage = {
    commands,
    metadata: undefined,
    streams: namesOf(conditions),
    events: events.length,
  }
  return appends.trace(message, commit, NOTE_VERDICT)
}

const OUTCOMES: Readonly<Record<AppendVerdict['kind'], NonNullable<AppendMessage['outcome']>>> = {
  appended: 'ok',
  conflict: 'conflict',
  repeated: 'repeated',
  used: 'repeated',
  erased: 'error',
}

const NOTE_VERDICT: OutcomeNote<AppendMessage, AppendVerdict> = {
  returned: (message, { kind }) => (message.outcome = OUTCOMES[kind]),
  threw: noteError,
}

function namesOf(conditions: AppendRequest['conditions']): string[] {
  return conditions.map(({ stream }) => stream)
}

/** Notes in its message that a command or an append failed: a conflict is told apart from other errors. */
export function noteError(message: Pick<ExecuteMessage, 'outcome'>, error: unknown): void {
  message.outcome = error instanceof ConflictError ? 'conflict' : 'error'
}

/** Pages of events, each watched if anything watches. */
export function watchPages<Pages extends AsyncIterable<readonly StoredEvent[]>>(
  stream: string | undefined,
  direction: Direction,
  given: Pages,
): Pages | AsyncIterable<readonly StoredEvent[], undefined> {
  if (!reads.isWatched) return given
  return {
    [Symbol.asyncIterator]: () => {
      const iterator = given[Symbol.asyncIterator]() as AsyncIterator<readonly StoredEvent[], undefined>
      const next = () => {
        const message: ReadMessage = { stream, direction }
        return reads.trace(message, () => iterator.next(), NOTE_PAGE)
      }
      const end = async () => (await iterator.return?.()) ?? { done: true as const, value: undefined }
      return { next, return: end }
    },
  }
}

const NOTE_PAGE: OutcomeNote<ReadMessage, IteratorResult<readonly StoredEvent[], undefined>> = {
  returned: (message, { done, value }) => (message.events = done ? 0 : value.length),
  threw: () => undefined,
}

/** Tells of a page of a subscription. */
export function tellPage({ events, through, isCaughtUp }: SubscribedPage): void {
  pages.publish(() => ({ events, position: through?.position, isCaughtUp }))
}

/** Tells of an interruption of a subscription. */
export function tellInterrupted(error: MnemeError): void {
  interruptions.publish(() => ({ error }))
}

/** Tells what became of a snapshot. */
export function tellSnapshot(message: () => SnapshotMessage): void {
  snapshots.publish(message)
}
