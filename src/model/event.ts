import type { Metadata } from './metadata.ts'
import type { Position } from '../base/revision.ts'

/** The data of an event that has none. */
export interface NoData {
  readonly [key: string]: never
}

/** An event as a constructor makes it: plain, frozen JSON data. */
export interface Event<Type extends string = string, Data = unknown> {
  readonly type: Type
  readonly data: Data
  /** The version of the data's shape. Default: 1. Constructors set it if there is more than one version. */
  readonly version?: number | undefined
}

/** An event in its stream, as `apply` sees it: everything that is known before it is stored. */
export interface StreamEvent<Type extends string = string, Data = unknown> extends Event<Type, Data> {
  /** A UUID. */
  readonly id: string
  readonly stream: string
  /** The event's number in its stream, from 0. */
  readonly revision: number
  readonly metadata: Metadata
  readonly version: number
}

/** An event as a store keeps it. */
export interface Recorded<Type extends string = string, Data = unknown> extends StreamEvent<Type, Data> {
  /** The event's position in the order of the whole store. */
  readonly position: Position
  /** When the store accepted it: ISO 8601, UTC, with milliseconds. */
  readonly time: string
}

/** What is known of a stored event besides its data, as an upcast sees it. */
export type RecordedFacts = Pick<Recorded, 'id' | 'stream' | 'revision' | 'time' | 'metadata'>

/** The recorded form of an event type. */
export type RecordedAs<E> = E extends Event<infer Type, infer Data> ? Recorded<Type, Data> : never
