import type { Metadata } from './metadata.ts'
import type { Position } from '../base/revision.ts'

/** The data of an event that has none. */
export interface NoData {
  readonly [key: string]: never
}

/** A fact, as a constructor makes it: plain, frozen JSON data. */
export interface Event<Type extends string = string, Data = unknown> {
  readonly type: Type
  readonly data: Data
  /** The version of the event's shape; 1 where left out. Constructors set it once there is more than one. */
  readonly version?: number | undefined
}

/** A fact in its stream, as `apply` sees it: all that is known of it before it is stored. */
export interface StreamEvent<Type extends string = string, Data = unknown> extends Event<Type, Data> {
  /** A UUID. */
  readonly id: string
  readonly stream: string
  /** The event's place in its stream, from 0. */
  readonly revision: number
  readonly metadata: Metadata
  readonly version: number
}

/** A fact, as a store keeps it. */
export interface Recorded<Type extends string = string, Data = unknown> extends StreamEvent<Type, Data> {
  /** The event's place in the order of the whole store. */
  readonly position: Position
  /** When the store took it: ISO 8601, UTC, with milliseconds. */
  readonly time: string
}

/** An event type's recorded form. */
export type RecordedAs<E> = E extends Event<infer Type, infer Data> ? Recorded<Type, Data> : never
