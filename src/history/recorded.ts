import { InvalidArgumentError } from '../base/errors.ts'
import { isRecordedTime } from '../base/iso-time.ts'
import { bytesOf, limits } from '../base/limits.ts'
import { checkLimit, checkWhole } from '../base/arguments.ts'
import type { Position } from '../base/revision.ts'
import type { NewEvent, StoredEvent } from '../adapter/store-adapter.ts'
import type { Recorded } from '../model/event.ts'
import { copyEventData } from '../model/json.ts'
import { checkMetadata } from '../model/metadata.ts'
import { checkEventType, checkStreamName, checkText } from '../model/names.ts'

/** An event with everything that was recorded of it, as `readAll`, `exportEvents` and an archive give it. */
export interface ExportedEvent extends Omit<Recorded, 'position'> {
  /** Its position in the store that it comes from. */
  readonly position?: Position | undefined
  /** The idempotency keys of which it is the first event. */
  readonly keys?: readonly ExportedKey[] | undefined
}

/** An idempotency key, with the first of the events that it covers. */
export interface ExportedKey {
  readonly key: string
  /** Of what the key stands for. */
  readonly fingerprint: string
  /** The `position` of the last event that it covers. */
  readonly through: Position
  /** The streams that its append named, including those that it only read. */
  readonly streams: readonly string[]
}

/** An event that is to be imported. */
export interface Imported extends NewEvent {
  readonly time: string
  readonly revision: number
  readonly position: Position | undefined
  readonly keys: readonly ExportedKey[]
  readonly bytes: number
}

/** Checks an event and encodes it as a store keeps it. @throws InvalidArgumentError, InvalidDataError, LimitError */
export function checkImported(given: ExportedEvent, index: number): Imported {
  const at = `events[${String(index)}]`
  if (typeof (given as unknown) !== 'object' || (given as unknown) === null) {
    throw new InvalidArgumentError(
      at,
      'a recorded event, as readAll, exportEvents or eventsInArchive give it',
    )
  }
  const { stream, id, type, version, revision, time, metadata, data, position, keys = [] } = given
  checkStreamName(stream, `${at}.stream`)
  checkEventType(type, `${at}.type`)
  checkWhole(revision, `${at}.revision`, 0)
  checkWhole(version, `${at}.version`, 1)
  if (typeof (id as unknown) !== 'string' || !UUID.test(id)) {
    throw new InvalidArgumentError(`${at}.id`, 'a UUID in lower case')
  }
  if (!isRecordedTime(time)) {
    throw new InvalidArgumentError(`${at}.time`, 'a time like 2026-01-31T12:00:00.000Z')
  }
  if (!Array.isArray(keys) || (keys.length > 0 && typeof position !== 'string')) {
    throw new InvalidArgumentError(`${at}.keys`, 'a list of keys; an event with keys has a position')
  }
  for (const [i, key] of (keys as readonly ExportedKey[]).entries()) checkKey(key, `${at}.keys[${String(i)}]`)
  const texts = {
    data: JSON.stringify(copyEventData(data, type)),
    metadata: JSON.stringify(checkMetadata(metadata)),
  }
  const bytes = bytesOf(texts.data + texts.metadata, 0)
  checkLimit(at, 'eventBytes', bytes)
  return { stream, id, type, version, revision, time, position, keys, bytes, ...texts }
}

function checkKey(given: ExportedKey, at: string): void {
  const { key, fingerprint, through, streams } = Object(given) as ExportedKey
  checkText(key, `${at}.key`, 'an idempotency key')
  checkLimit(`${at}.key`, 'keyBytes', bytesOf(key, limits.keyBytes))
  if (typeof (fingerprint as unknown) !== 'string' || typeof (through as unknown) !== 'string') {
    throw new InvalidArgumentError(at, 'a key with its fingerprint, and the position of its last event')
  }
  if (!Array.isArray(streams)) throw new InvalidArgumentError(`${at}.streams`, 'a list of streams')
  for (const stream of streams as readonly string[]) checkStreamName(stream, `${at}.streams`)
}

/** What differs between an event that is stored and the one that is imported; `undefined`: nothing. */
export function differenceOf(stored: StoredEvent, imported: Imported): string | undefined {
  if (stored.id !== imported.id) return 'id'
  if (stored.type !== imported.type) return 'type'
  if (stored.version !== imported.version) return 'version'
  if (stored.time !== imported.time) return 'time'
  if (!isSameJson(stored.metadata, imported.metadata)) return 'metadata'
  return isSameJson(stored.data, imported.data) ? undefined : 'data'
}

/** Whether two texts are the same JSON, whatever the order of keys and the spelling. */
function isSameJson(a: string, b: string): boolean {
  return a === b || JSON.stringify(sorted(JSON.parse(a))) === JSON.stringify(sorted(JSON.parse(b)))
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(sorted)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return entries.map(([key, item]) => [key, sorted(item)])
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
