import type { Capabilities, Position, Revision } from 'mneme'

/** What the page asks of the server, by the name of the call: what it sends and what it is answered. Types only. */
export interface Calls {
  readonly about: Call<object, About>
  readonly categories: Call<{ readonly after?: string }, Categories>
  readonly streams: Call<StreamsQuery, StreamsPage>
  readonly stream: Call<StreamQuery, StreamPage>
  readonly log: Call<LogQuery, LogPage>
  readonly tail: Call<TailQuery, Tail>
  readonly trace: Call<TraceQuery, Trace>
  readonly throughput: Call<ThroughputQuery, Throughput>
  readonly event: Call<EventPlace, EventDetail>
  readonly value: Call<ValueQuery, Shown>
  readonly state: Call<StateQuery, StateShown>
  readonly try: Call<Trial, TrialResult>
  readonly followers: Call<object, Followers>
  readonly follower: Call<{ readonly name: string; readonly database: number }, FollowerDetail>
  readonly unblock: Call<UnblockRequest, Unblocked>
}

interface Call<In, Out> {
  readonly in: In
  readonly out: Out
}

/** A key of an object, or the index of an item. */
export type Path = readonly (string | number)[]

/** A value as far as it is shown. The rest can be asked for by its path. */
export interface Shown {
  readonly value: unknown
  readonly cuts: readonly Cut[]
  /** What is no plain JSON: instances of classes, Maps, Sets, Dates. */
  readonly tags: readonly { readonly path: Path; readonly name: string }[]
}

/** A text, a list or an object of which only the beginning is shown, or nothing. */
export interface Cut {
  readonly path: Path
  readonly kind: 'text' | 'array' | 'object'
  /** Characters, items or properties: how many there are, and how many are shown. */
  readonly size: number
  readonly shown: number
}

/** What the inspector looks at. */
export interface About {
  readonly name: string
  readonly identity: string
  readonly capabilities: Capabilities
  readonly head: Position | null
  /** Whether actions are allowed. */
  readonly write: boolean
  readonly aggregates: readonly AboutAggregate[]
  readonly commands: readonly AboutCommand[]
}

/** An aggregate of the program. */
interface AboutAggregate {
  readonly name: string
  readonly category: string
  readonly types: readonly string[]
}

/** A command of the program. */
interface AboutCommand {
  readonly name: string
  /** The JSON Schema of its input, if the program knows one. */
  readonly schema?: FormSchema
}

/** A JSON Schema, as far as a form is made of it. */
export interface FormSchema {
  readonly type?: string | readonly string[]
  readonly properties?: Readonly<Record<string, FormSchema>>
  readonly required?: readonly string[]
  readonly items?: FormSchema
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly default?: unknown
  readonly description?: string
  readonly title?: string
  readonly format?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
}

export interface Categories {
  readonly categories: readonly string[]
  /** `after` of what follows; absent if there is nothing. */
  readonly next?: string
}

interface StreamsQuery {
  readonly category?: string
  readonly prefix?: string
  readonly after?: string
  readonly limit?: number
}

export interface StreamsPage {
  readonly streams: readonly StreamRow[]
  /** `after` of the next page; absent if there is none. */
  readonly next?: string
}

/** A stream in a list. */
export interface StreamRow {
  readonly stream: string
  readonly revision: number
  readonly events: number
}

/** An event in a list. */
export interface EventRow {
  readonly stream: string
  readonly revision: number
  readonly position: Position
  readonly id: string
  readonly type: string
  readonly version: number
  readonly time: string
  /** The beginning of the data, in short. */
  readonly preview: string
  readonly correlation?: string
  readonly causation?: string
}

interface StreamQuery {
  readonly stream: string
  readonly direction?: Direction
  readonly from?: number
  readonly limit?: number
}

export interface StreamPage {
  readonly head: Revision
  readonly events: readonly EventRow[]
  /** `from` of the next page in the direction; absent if there is none. */
  readonly next?: number
}

export type Direction = 'forwards' | 'backwards'

/** Which events of the log are asked for. Default: all. */
interface LogFilter {
  readonly streams?: readonly string[]
  readonly categories?: readonly string[]
  readonly types?: readonly string[]
}

interface LogQuery extends LogFilter {
  readonly direction?: Direction
  readonly after?: Position
  readonly limit?: number
  /** ISO 8601: only events that were recorded from then on. */
  readonly since?: string
  /** ISO 8601: only events that were recorded before. */
  readonly until?: string
}

export interface LogPage {
  readonly head: Position | null
  readonly events: readonly EventRow[]
  /** `after` of the next page in the direction; absent if there is nothing more to read. */
  readonly next?: Position
  /** How many events were looked at. */
  readonly scanned: number
}

interface TailQuery extends LogFilter {
  /** What an earlier answer gave. Default: the end of the log. */
  readonly after?: Position | null
}

/** What was appended since an earlier answer. */
export interface Tail {
  /** `null`: the store is empty. */
  readonly after: Position | null
  /** The last ones, in the order of the store. */
  readonly events: readonly EventRow[]
  /** How many there were. */
  readonly passed: number
  /** Whether more follow at once. */
  readonly isBehind: boolean
}

interface TraceQuery {
  /** An event. */
  readonly at?: EventPlace
  /** The id of an event, or a correlation. */
  readonly wanted?: string
  /** How many events to look at before and behind it. */
  readonly budget?: number
}

/** What an event follows from, what follows from it, and what has the same correlation. */
export interface Trace {
  /** Each event behind its cause. */
  readonly nodes: readonly TraceNode[]
  /** How many events were looked at in one direction. */
  readonly scanned: number
  /** Whether the store holds no more of it. */
  readonly isWhole: boolean
}

export interface TraceNode {
  readonly event: EventRow
  /** How many causes above it are shown. */
  readonly depth: number
  /** Whether it is the event that was asked for. */
  readonly isWanted: boolean
}

interface ThroughputQuery extends LogFilter {
  /** How many events to look at. */
  readonly budget?: number
}

/** How many events were recorded when, and of which types. */
export interface Throughput {
  readonly events: number
  /** When the first and the last of them were recorded; absent if there is none. */
  readonly from?: string
  readonly to?: string
  /** How many fall into each of so many equal parts of the time between. */
  readonly bars: readonly number[]
  readonly types: readonly { readonly type: string; readonly events: number }[]
  /** Whether the store holds no others. */
  readonly isWhole: boolean
}

export interface EventPlace {
  readonly stream: string
  readonly revision: number
}

export interface EventDetail extends EventRow {
  readonly data: Shown
  readonly metadata: Shown
  /** Characters of the data as JSON. */
  readonly characters: number
  /** The head of its stream. */
  readonly head: Revision
}

interface ValueQuery {
  readonly of: EventPlace & { readonly part: 'data' | 'metadata' | 'state'; readonly aggregate?: string }
  readonly path: Path
  /** How many items, properties or characters to leave out at the beginning. */
  readonly skip?: number
}

interface StateQuery {
  readonly stream: string
  /** Default: the head. -1: before the first event. */
  readonly revision?: number
  readonly aggregate?: string
}

/** A state as of a revision, with what the event of that revision has changed. */
export interface StateShown {
  readonly aggregate: string
  /** The aggregates of the program that fold the stream. */
  readonly aggregates: readonly string[]
  readonly head: Revision
  readonly revision: Revision
  readonly event?: EventRow & { readonly data: Shown }
  readonly state: Shown
  readonly changes: readonly Change[]
  /** Whether there are more changes than are listed. */
  readonly isMore: boolean
}

/** A place at which two values differ. What was or is not there is absent. */
export interface Change {
  readonly path: Path
  readonly before?: Shown
  readonly after?: Shown
}

interface Trial {
  readonly command: string
  readonly with: unknown
  /** The event after which it is decided. Default: the last one of the store. */
  readonly at?: EventPlace
  readonly actor?: string
}

/** What a command would have decided. */
export type TrialResult = {
  /** The event after which it was decided. */
  readonly at?: EventPlace & { readonly time: string }
  /** Absent if there is no event at all. */
  readonly position?: Position
} & (
  | {
      readonly outcome: 'accepted'
      readonly events: readonly TriedEvent[]
      readonly state: Shown
      readonly changes: readonly Change[]
      readonly isMore: boolean
    }
  | { readonly outcome: 'rejected'; readonly rejection: Shown; readonly state: Shown }
  | {
      readonly outcome: 'failed'
      readonly error: { readonly name: string; readonly message: string; readonly code?: string }
      readonly state?: Shown
    }
)

/** An event that a trial would have appended. */
interface TriedEvent {
  readonly stream: string
  readonly revision: number
  readonly type: string
  readonly version: number
  readonly preview: string
  readonly data: Shown
}

/** What follows the log: projections, reactions and relays. */
export interface Followers {
  readonly followers: readonly Follower[]
  /** How many databases the inspector was given. */
  readonly databases: number
  /** Why some of them could not be read. */
  readonly failures: readonly string[]
}

export interface Follower {
  readonly name: string
  readonly kind: 'projection' | 'reaction' | 'relay'
  /** The number of its database, from 0. */
  readonly database: number
  /** How many events were set aside. */
  readonly parked: number
  readonly live: FollowerBuild
  /** The build that will replace it, if one is under way. */
  readonly rebuild?: FollowerBuild
}

interface FollowerBuild {
  readonly version: number
  readonly state: 'running' | 'stopped' | 'rebuilding' | 'retrying' | 'blocked'
  /** How many events were handled in all. */
  readonly handled: number
  readonly failure?: FollowerFailure
  /** Absent if it follows another store. */
  readonly lag?: Lag
}

/** What was appended behind a checkpoint, whether or not it is handled. */
export interface Lag {
  readonly events: number
  readonly isMore: boolean
  /** How long ago the first of it was recorded; 0 if there is nothing. */
  readonly seconds: number
}

export interface FollowerFailure {
  readonly message: string
  readonly code?: string
  readonly attempts: number
  readonly time: string
  readonly event?: EventPlace
  readonly timer?: string
}

export interface FollowerDetail extends Follower {
  /** Whether the inspector may let it try again. */
  readonly canUnblock: boolean
  /** The first ones that were set aside. */
  readonly parkedEvents: readonly (EventPlace & {
    readonly type: string
    readonly failure: FollowerFailure
  })[]
  /** The first ones that are due. */
  readonly timers: readonly FollowerTimer[]
}

interface FollowerTimer {
  readonly timer: string
  readonly due: string
  readonly state: 'waiting' | 'firing' | 'parked'
  readonly command: string
  readonly input: Shown
  readonly event: EventPlace
  readonly failure?: FollowerFailure
}

/** What the inspector is to let try again. */
interface UnblockRequest {
  readonly name: string
  readonly database: number
  /** For the log of actions: at most 1,000 characters. */
  readonly reason?: string
}

/** What has come of it. */
export interface Unblocked {
  /** Whether it was still blocked. */
  readonly wasBlocked: boolean
  /** The event that tells of it. */
  readonly logged: EventPlace
}

/** What is answered when a call fails. */
export interface Problem {
  readonly error: { readonly code: string; readonly message: string }
}
