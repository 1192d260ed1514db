import { timeOf } from '../../base/clock.ts'
import type { NewEvent, StoredEvent } from '../../adapter/store-adapter.ts'
import type { KurrentEvent, KurrentRecorded } from './driver.ts'
import { formatLogPosition } from './position.ts'

/**
 * Members of an event's metadata. Those of the first two names are known to the server's own tools and system
 * projections; a `$` keeps the rest apart from whatever users have.
 */
const CORRELATION = '$correlationId'
const CAUSATION = '$causationId'
/** When it was appended: the server's own time is not in the answer to an append. */
const TIME = '$mneme.time'
/** The version of the event's shape, unless it is 1. */
const VERSION = '$mneme.version'
/** The append that wrote the event, if the caller gave the event's id and may give it again. */
const APPEND = '$mneme.append'
/** The user's metadata as JSON, if they contain half a surrogate pair, which the server cannot store. */
const ESCAPED = '$mneme.metadata'

/** What an append adds to the metadata of its events. */
export interface AppendMark {
  readonly time: string
  readonly append?: string | undefined
}

/** An event as the client sends it. The JSON is parsed for it to write it again: it takes nothing else. */
export function toKurrent(event: NewEvent, mark: AppendMark): KurrentEvent {
  const { id, type, data } = event
  const metadata = metadataOf(event, mark)
  return {
    id,
    type,
    contentType: 'application/json',
    data: JSON.parse(data) as Record<string, unknown>,
    metadata,
  }
}

function metadataOf(
  { metadata, version, time: recorded }: NewEvent,
  { time, append }: AppendMark,
): Record<string, string> {
  const fields: Record<string, string> = {}
  const given = metadata === '{}' ? {} : (JSON.parse(metadata) as Record<string, string>)
  if (SURROGATE.test(metadata)) fields[ESCAPED] = metadata
  else {
    for (const [key, value] of Object.entries(given)) {
      if (key === 'correlation') fields[CORRELATION] = value
      else if (key === 'causation') fields[CAUSATION] = value
      else fields[key] = value
    }
  }
  if (version !== 1) fields[VERSION] = String(version)
  if (append !== undefined) fields[APPEND] = append
  fields[TIME] = recorded ?? time
  return fields
}

/** Half a pair, which JSON text has only in its escaped form. */
const SURROGATE = /\\u[dD][89a-fA-F]/

/** A stored event, from any writer. */
export function toStored(recorded: KurrentRecorded): StoredEvent {
  const metadata = textOf(recorded.metadata)
  const fields = ONLY_TIME.test(metadata) ? { [TIME]: metadata.slice(16, 40) } : parseObject(metadata)
  const { [TIME]: time, [VERSION]: version }: Readonly<Record<string, unknown>> = fields
  const own = typeof time === 'string' && TIME_FORMAT.test(time) ? ownData(recorded) : undefined
  return {
    stream: recorded.streamId,
    id: recorded.id,
    type: recorded.type,
    version: own === undefined ? 1 : versionOf(version),
    data: own ?? foreignData(recorded),
    metadata: userMetadata(fields),
    revision: Number(recorded.revision),
    position: formatLogPosition(recorded.position ?? NOWHERE),
    time: own === undefined ? timeOf(recorded.created) : (time as string),
  }
}

const TIME_FORMAT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
/** The metadata of most events, which need not be parsed. */
const ONLY_TIME = /^\{"\$mneme\.time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"\}$/

/** The append that wrote an event, if its metadata name it. */
export function appendOf({ metadata }: KurrentRecorded): unknown {
  return parseObject(textOf(metadata))[APPEND]
}

/** Very old servers tell no position of an event in a stream. */
const NOWHERE = { commit: 0n, prepare: 0n }

/** Data as this store writes it: a JSON object. The metadata alone do not prove that, because others may copy them. */
function ownData({ isJson, data }: KurrentRecorded): string | undefined {
  const text = isJson ? textOf(data) : ''
  return text.startsWith('{') && text.endsWith('}') ? text : undefined
}

/**
 * Data that another program wrote. An event's data is a JSON object here: anything else becomes the one member of
 * an object, JSON as `$value` and bytes as `$base64`.
 */
function foreignData({ isJson, data }: KurrentRecorded): string {
  const text = textOf(data)
  if (isJson) {
    try {
      const value: unknown = JSON.parse(text)
      return isObject(value) ? text : JSON.stringify({ $value: value })
    } catch {
      // The server does not check that it is JSON.
    }
  }
  return JSON.stringify({ $base64: bufferOf(data).toString('base64') })
}

/** The user's part of the metadata, as JSON. Values of other programs that are not text become text. */
function userMetadata(fields: Readonly<Record<string, unknown>>): string {
  if (typeof fields[ESCAPED] === 'string') return fields[ESCAPED]
  const metadata: Record<string, string> = {}
  let isEmpty = true
  for (const [field, value] of Object.entries(fields)) {
    const key = field === CORRELATION ? 'correlation' : field === CAUSATION ? 'causation' : field
    if (key === '' || key === '__proto__' || key.startsWith('$')) continue
    metadata[key] = typeof value === 'string' ? value : JSON.stringify(value)
    isEmpty = false
  }
  return isEmpty ? '{}' : JSON.stringify(metadata)
}

function versionOf(field: unknown): number {
  const version = typeof field === 'string' ? Number(field) : 1
  return Number.isSafeInteger(version) && version > 0 ? version : 1
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  if (text === '') return {}
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : {}
  } catch {
    return {}
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function textOf(bytes: Uint8Array): string {
  return bufferOf(bytes).toString('utf8')
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
