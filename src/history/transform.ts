import { checkLimit } from '../base/arguments.ts'
import { InvalidArgumentError, quote } from '../base/errors.ts'
import { checkFunction, isThenable } from '../base/functions.ts'
import { sha256 } from '../base/hash.ts'
import { bytesOf } from '../base/limits.ts'
import type { Recorded } from '../model/event.ts'
import { copyEventData, freezeJson } from '../model/json.ts'
import { checkMetadata, type Metadata } from '../model/metadata.ts'
import { checkEventType, checkStreamName } from '../model/names.ts'
import { fromStored } from '../store/decode.ts'
import type { Imported } from './recorded.ts'

/** What becomes of an event that is copied. What is left out stays as it is; id, time, revision and position cannot be changed. */
export interface TransformedEvent {
  readonly type: string
  readonly data: unknown
  readonly version?: number | undefined
  readonly stream?: string | undefined
  readonly metadata?: Metadata | undefined
}

/**
 * Says what becomes of an event that is copied: the event itself, another one, several, or nothing. It decides by the event alone,
 * and always in the same way, because a copy that is resumed calls it again.
 */
export type CopyTransform = (event: Recorded) => TransformedEvent | readonly TransformedEvent[] | undefined

/** An event that a transform made, with an id that is always the same. */
export type Derived = Omit<Imported, 'revision' | 'keys'>

/** What a transform made of an event. */
export interface Transformed {
  readonly before: Recorded
  readonly events: readonly Derived[]
  /** Whether anything is different, apart from where it says that it comes from. */
  readonly isChanged: boolean
}

/** @throws InvalidArgumentError */
export function checkTransform(transform: CopyTransform | undefined): CopyTransform | undefined {
  if (transform !== undefined) checkFunction(transform, 'transform')
  return transform
}

/** Applies a transform. @throws InvalidArgumentError, InvalidDataError, LimitError that name the event; what it throws. */
export function applyTransform(transform: CopyTransform, event: Imported): Transformed {
  const { stream, revision } = event
  const before = fromStored({ ...event, position: event.position! })
  freezeJson(before)
  const returned: unknown = transform(before)
  const at = `what transform returned for revision ${String(revision)} of stream ${quote(stream)}`
  if (isThenable(returned)) {
    throw new InvalidArgumentError('transform', {
      message: `${at} is a promise: a transform decides by the event alone, so write it without async`,
    })
  }
  if (returned === before) return { before, events: [derive(event, before, 0, at)], isChanged: false }
  const list = (
    Array.isArray(returned) ? returned : returned === undefined ? [] : [returned]
  ) as TransformedEvent[]
  const events = list.map((made, index) => derive(event, made, index, at))
  const [only] = events
  const isChanged =
    events.length !== 1 ||
    only!.stream !== stream ||
    only!.type !== event.type ||
    only!.version !== event.version ||
    only!.data !== event.data ||
    only!.metadata !== withOrigin(event, before.metadata)
  return { before, events, isChanged }
}

function derive(event: Imported, made: TransformedEvent, index: number, at: string): Derived {
  if (typeof (made as unknown) !== 'object' || (made as unknown) === null) {
    throw new InvalidArgumentError('transform', {
      message: `${at} is no event: return { type, data }, several of them in a list, or undefined`,
    })
  }
  const { type, data, version = event.version, stream = event.stream, metadata } = made
  checkStreamName(stream, 'transform: stream')
  checkEventType(type, 'transform: type')
  const texts = {
    data: JSON.stringify(copyEventData(data, type)),
    metadata: withOrigin(
      event,
      metadata === undefined ? (JSON.parse(event.metadata) as Metadata) : checkMetadata(metadata),
    ),
  }
  const bytes = bytesOf(texts.data, 0) + bytesOf(texts.metadata, 0)
  checkLimit(at, 'eventBytes', bytes)
  const id = index === 0 ? event.id : idOf(`${event.id}/${String(index)}`)
  const { time, position } = event
  return { stream, id, type, version, time, position, bytes, ...texts }
}

/** A UUID of version 8: the hash of a text. */
function idOf(text: string): string {
  const hex = sha256(text, 'hex')
  const variant = ((parseInt(hex[16]!, 16) & 3) | 8).toString(16)
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

/** Where an event comes from, by which a copy with a transform is resumed. */
function withOrigin({ stream, revision }: Imported, metadata: Metadata): string {
  return JSON.stringify({ ...metadata, [COPIED_FROM]: `${stream}@${String(revision)}` })
}

/** Where an event was copied from, as its metadata say. */
export function originOf(metadata: string): readonly [stream: string, revision: number] | undefined {
  const { [COPIED_FROM]: origin } = JSON.parse(metadata) as Metadata
  const match = origin === undefined ? null : /^(.+)@(\d+)$/su.exec(origin)
  return match ? [match[1]!, Number(match[2])] : undefined
}

const COPIED_FROM = 'copiedFrom'
