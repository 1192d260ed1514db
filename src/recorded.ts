import type { Recorded } from './event.ts'
import type { EncodedEvent } from './encode.ts'
import type { Metadata } from './metadata.ts'
import type { Appended, StoredEvent } from './store-adapter.ts'

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

const NO_METADATA: Metadata = Object.freeze({})

/** The events of an append as stored. */
export function fromAppended(
  events: readonly EncodedEvent[],
  verdict: Appended,
  metadata: Metadata,
): Recorded[] {
  return events.map(({ event, id, stream, version }, i) => ({
    type: event.type,
    data: event.data,
    version,
    id,
    stream,
    revision: verdict.revisions[i] as number,
    position: verdict.positions[i] as string,
    time: verdict.time,
    metadata,
  }))
}
