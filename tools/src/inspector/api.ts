import type { Capabilities, Position, Revision } from 'mneme'

/** What the page asks of the server, by the name of the call: what it sends and what it is answered. Types only. */
export interface Calls {
  readonly about: Call<object, About>
  readonly categories: Call<{ readonly after?: string }, Categories>
  readonly streams: Call<StreamsQuery, StreamsPage>
  readonly stream: Call<StreamQuery, StreamPage>
  readonly log: Call<LogQuery, LogPage>
  readonly event: Call<EventPlace, EventDetail>
  readonly value: Call<ValueQuery, Shown>
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
}

/** An aggregate of the program. */
interface AboutAggregate {
  readonly name: string
  readonly category: string
  readonly types: readonly string[]
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

interface LogQuery {
  readonly direction?: Direction
  readonly after?: Position
  readonly limit?: number
  readonly streams?: readonly string[]
  readonly categories?: readonly string[]
  readonly types?: readonly string[]
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

interface EventPlace {
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
  readonly of: EventPlace & { readonly part: 'data' | 'metadata' }
  readonly path: Path
  /** How many items, properties or characters to leave out at the beginning. */
  readonly skip?: number
}

/** What is answered when a call fails. */
export interface Problem {
  readonly error: { readonly code: string; readonly message: string }
}
