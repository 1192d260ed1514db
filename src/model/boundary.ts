import type { Event } from './event.ts'
import type { Metadata } from './metadata.ts'
import type { Rejection } from './rejection.ts'
import type { Revision } from '../base/revision.ts'
import type { AnyStream, Stream } from './stream.ts'

/** Streams by name: one, an array or a record of them under each key; `undefined` where one is left out. */
export interface Streams {
  readonly [key: string]: AnyStream | readonly AnyStream[] | { readonly [key: string]: AnyStream } | undefined
}

/**
 * What a decision stands on: one stream, or a record of streams, of arrays of streams, of records of streams.
 * Its append is conditional on every one of them, those only read included.
 */
export type Boundary = AnyStream | Streams

/** A state as a decision sees it. Shallow on purpose: so it can be given where the state's own type is asked. */
export type Seen<State> = State extends { apply(event: never): unknown } ? State : Readonly<State>

/** The states of a boundary, in its shape. */
export type StatesOf<B> =
  B extends Stream<infer State>
    ? Seen<State>
    : B extends undefined
      ? undefined
      : { readonly [K in keyof B]: StatesOf<B[K]> }

/** Events that a decision records on one of its streams. */
export interface OnStream<E = unknown> {
  readonly stream: string
  readonly events: readonly E[]
}

/** Says on which of the streams that were read an event is recorded; in the shape of the boundary. */
export type On<B> = { readonly [K in keyof B]-?: OnOne<Exclude<B[K], undefined>> }
type OnOne<T> =
  T extends Stream<unknown, infer Types>
    ? <E extends readonly Event<Types>[]>(...events: E) => OnStream<E[number]>
    : T extends readonly Stream<unknown, infer Types>[]
      ? <E extends readonly Event<Types>[]>(index: number, ...events: E) => OnStream<E[number]>
      : T extends { readonly [key: string]: Stream<unknown, infer Types> }
        ? <E extends readonly Event<Types>[]>(key: string, ...events: E) => OnStream<E[number]>
        : never

/** What `handle` finds in its context besides what the command needs. */
export interface Context {
  /** 1 at first, one more each time that the command is decided anew. */
  readonly attempt: number
  /** Aborted when the caller of `execute` gave up. */
  readonly signal: AbortSignal
  readonly metadata: Metadata
}

/** The context of a command over this boundary; for the `handle` of a class: `ContextOf<Transfer['reads']>`. */
export type ContextOf<B, Needs = {}> = Context &
  Needs &
  (B extends AnyStream ? { readonly revision: Revision } : { readonly on: On<B> })

/** What `handle` may return: events (none, one, several) or a rejection. */
export type Decision<B> =
  | (B extends Stream<unknown, infer Types>
      ? Event<Types> | readonly Event<Types>[]
      : OnStream | readonly OnStream[])
  | Rejection<string, object>

/** The events among what `handle` returns. */
export type EventsIn<Ret> = Ret extends readonly (infer E)[]
  ? EventsIn<E>
  : Ret extends OnStream<infer E>
    ? E
    : Ret extends Event
      ? Ret
      : never

/** The rejections among what `handle` returns. */
export type RejectionsIn<Ret> =
  Ret extends Rejection<infer Reason, infer Detail> ? Simplify<{ readonly reason: Reason } & Detail> : never
type Simplify<T> = { [K in keyof T]: T[K] } & {}
