import type { Recorded, StreamEvent } from '../model/event.ts'
import type { EncodedEvent } from './encode.ts'
import { Tagged } from '../base/tagged.ts'
import { NO_METADATA, type Metadata } from '../model/metadata.ts'
import { asParsed, freezeJson } from '../model/json.ts'
import type { AppendResult } from './event-store.ts'
import type { Appended, KeyUse, Repeated, StoredEvent } from '../adapter/store-adapter.ts'

/** A stored event, decoded: a fresh object each time. */
export function fromStored(stored: StoredEvent): Recorded {
  const { metadata } = stored
  return {
    type: stored.type,
    data: JSON.parse(stored.data) as unknown,
    version: stored.version,
    id: stored.id,
    stream: stored.stream,
    revision: stored.revision,
    position: stored.position,
    time: stored.time,
    metadata: metadata === '{}' ? NO_METADATA : (JSON.parse(metadata) as Metadata),
  }
}

/** The same, deeply frozen, as subscriptions hand it out. */
export function frozenFromStored(stored: StoredEvent): Recorded {
  const recorded = fromStored(stored)
  freezeJson(recorded.data as object)
  freezeJson(recorded.metadata)
  return Object.freeze(recorded)
}

/** The same, decoded once for all subscriptions that are given this object. */
export function sharedFromStored(stored: StoredEvent): Recorded {
  return Decoded.of(stored) ?? Decoded.keep(stored, frozenFromStored(stored))
}

/** The same of a list of events, once for all subscriptions that are given this list: frozen, too. */
export function sharedPageFromStored(stored: readonly StoredEvent[]): readonly Recorded[] {
  return DecodedPage.of(stored) ?? DecodedPage.keep(stored, Object.freeze(stored.map(frozenFromStored)))
}

/** Keeps the decoded event with the stored one. */
class Decoded extends Tagged {
  readonly #recorded: Recorded

  constructor(stored: StoredEvent, recorded: Recorded) {
    super(stored)
    this.#recorded = recorded
  }

  static of(stored: StoredEvent): Recorded | undefined {
    return #recorded in stored ? (stored as unknown as Decoded).#recorded : undefined
  }

  static keep(stored: StoredEvent, recorded: Recorded): Recorded {
    new Decoded(stored, recorded)
    return recorded
  }
}

/** Keeps the decoded events with the list of the stored ones. */
class DecodedPage extends Tagged {
  readonly #page: readonly Recorded[]

  constructor(stored: readonly StoredEvent[], page: readonly Recorded[]) {
    super(stored)
    this.#page = page
  }

  static of(stored: readonly StoredEvent[]): readonly Recorded[] | undefined {
    return #page in stored ? (stored as unknown as DecodedPage).#page : undefined
  }

  static keep(stored: readonly StoredEvent[], page: readonly Recorded[]): readonly Recorded[] {
    new DecodedPage(stored, page)
    return page
  }
}

/** A stored event as `apply` sees it: without position and time, which a decision's events do not have yet. */
export function streamEventOf(stored: StoredEvent): StreamEvent {
  const { type, version, id, stream, revision, metadata } = stored
  return {
    type,
    data: JSON.parse(stored.data) as unknown,
    version,
    id,
    stream,
    revision,
    metadata: metadata === '{}' ? NO_METADATA : (JSON.parse(metadata) as Metadata),
  }
}

/** The same for an event that is not stored yet: its data is a new object, as if it had been read. */
export function streamEventOfNew(encoded: EncodedEvent, revision: number, metadata: Metadata): StreamEvent {
  const { type, data: text, version, id, stream, event } = encoded
  const data = asParsed(event.data as object, text)
  return { type, data, version, id, stream, revision, metadata }
}

/** The events of an append as stored; `first` is the index of the first event in the append. */
export function fromVerdict(
  events: readonly EncodedEvent[],
  verdict: Appended | Repeated,
  metadata: Metadata,
  first = 0,
): Recorded[] {
  if (verdict.kind === 'repeated') return verdict.events.slice(first, first + events.length).map(fromStored)
  return events.map(({ event, id, stream, version }, i) => ({
    type: event.type,
    data: event.data,
    version,
    id,
    stream,
    revision: verdict.revisions[first + i]!,
    position: verdict.positions[first + i]!,
    time: verdict.time,
    metadata,
  }))
}

/** The result of the first append with a key. */
export function fromUse(use: KeyUse): AppendResult {
  const events = use.events.map(fromStored)
  return { events, revisions: new Map(use.heads), position: events.at(-1)?.position, repeated: true }
}
