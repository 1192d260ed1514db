import { CloudEvent } from 'cloudevents'
import type { Recorded } from 'mneme'

/** The content type of a CloudEvent in structured mode: one JSON text with all its attributes. */
export const CLOUD_EVENT = 'application/cloudevents+json'

/**
 * An event as a CloudEvent 1.0 in structured mode. In binary mode a broker's headers would carry the attributes, as text, and
 * a webhook's signature would not cover them. Extensions have names of lower case letters and digits, and no floats.
 */
export function cloudEvent(
  { id, type, stream, revision, time, data, metadata }: Recorded,
  source: string,
): string {
  const { correlation, causation } = metadata
  const event = new CloudEvent({
    ...{ id, source, type, subject: stream, time, datacontenttype: 'application/json', data },
    // CloudEvents compares sequences as texts.
    sequence: String(revision).padStart(10, '0'),
    ...(correlation !== undefined && { correlationid: correlation }),
    ...(causation !== undefined && { causationid: causation }),
  })
  return JSON.stringify(event)
}
