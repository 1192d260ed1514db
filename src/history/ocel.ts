import { checkList, checkOptions, checkSignal } from '../base/arguments.ts'
import { InvalidArgumentError, quote } from '../base/errors.ts'
import { checkFunction } from '../base/functions.ts'
import { isRecordedTime } from '../base/iso-time.ts'
import type { Position } from '../base/revision.ts'
import { tellsOfErasures } from '../model/erasures.ts'
import type { Recorded } from '../model/event.ts'
import { categoryOf, checkText } from '../model/names.ts'
import { isSealed } from '../model/sealed.ts'
import type { AnyStream } from '../model/stream.ts'
import { checkPosition, streamName } from '../store/arguments.ts'
import type { EventStore } from '../store/event-store.ts'

/** Options of `exportOcel`. */
export interface OcelOptions {
  /** Only streams of these categories. Default: all. */
  readonly categories?: readonly string[] | undefined
  /** Only what follows this position. Default: everything. */
  readonly after?: Position | undefined
  /** The objects that an event has to do with, besides the one of its stream. */
  readonly relations?: ((event: Recorded) => readonly OcelRelation[]) | undefined
  readonly signal?: AbortSignal | undefined
}

/** An object that an event has to do with. */
export interface OcelRelation {
  /** The object: a stream, which need not have events. */
  readonly object: string | AnyStream
  /** What the object is to the event: `'payee'`, say. */
  readonly qualifier: string
}

/**
 * Gives the history of a store as an object-centric event log, for tools of process mining: OCEL 2.0 as JSON, in pieces of text.
 * Streams are objects, their categories are object types. Of an event's data each plain value is an attribute, nested
 * ones under a path like `address.city`, lists as JSON; metadata come as `@actor` and so on. Sealed personal values are left out.
 *
 * The events are written as they are read. Only the names of the streams, and of types and attributes, are held in memory.
 *
 * @throws InvalidArgumentError, and the errors of `readAll`; the signal's reason.
 * @example
 * ```ts
 * import { createWriteStream } from 'node:fs'
 * import { pipeline } from 'node:stream/promises'
 * import { openStore } from 'mneme'
 * import { exportOcel } from 'mneme/history'
 *
 * const store = await openStore('sqlite:bank.db')
 * await pipeline(exportOcel(store), createWriteStream('bank.ocel.json'))
 * ```
 */
export async function* exportOcel(
  store: EventStore,
  options: OcelOptions = {},
): AsyncGenerator<string, undefined> {
  checkOptions(options, 'options', ['categories', 'after', 'relations', 'signal'])
  const categories = checkList(options.categories, 'categories', streamName)
  const after = checkPosition(options.after, 'after')
  const signal = checkSignal(options.signal)
  const { relations = () => [] } = options
  checkFunction(relations, 'relations')
  const to = await store.logHead()
  const objects = new Set<string>()
  const types = new Map<string, Map<string, AttributeType>>()
  let text = '{"events":['
  let separator = '\n'
  if (to !== undefined) {
    for await (const event of store.readAll({ categories, after, to, signal })) {
      if (tellsOfErasures(event.stream)) continue
      const { id, type, time } = event
      const relationships = relationshipsOf(event, relations(event))
      for (const { objectId } of relationships) objects.add(objectId)
      const known = types.get(type) ?? new Map<string, AttributeType>()
      types.set(type, known)
      const attributes = attributesOf(event, known)
      text += separator + JSON.stringify({ id, type, time, attributes, relationships })
      separator = ',\n'
      if (text.length < TEXT_LENGTH) continue
      yield text
      text = ''
    }
  }
  text += '\n],\n"objects":['
  separator = '\n'
  const objectTypes = new Set<string>()
  for (const id of objects) {
    const type = categoryOf(id)
    objectTypes.add(type)
    text += separator + JSON.stringify({ id, type, attributes: [], relationships: [] })
    separator = ',\n'
    if (text.length < TEXT_LENGTH) continue
    yield text
    text = ''
  }
  const listed = [...types].map(([name, attributes]) => ({
    name,
    attributes: [...attributes].map(([attribute, type]) => ({ name: attribute, type })),
  }))
  const named = [...objectTypes].map((name) => ({ name, attributes: [] }))
  yield `${text}\n],\n"objectTypes":${JSON.stringify(named)},\n"eventTypes":${JSON.stringify(listed)}\n}\n`
  return undefined
}

/** The types that the standard has for attributes. Their values are written as text. */
type AttributeType = 'string' | 'time' | 'integer' | 'float' | 'boolean'

interface Attribute {
  readonly name: string
  readonly value: string
}

interface Relationship {
  readonly objectId: string
  readonly qualifier: string
}

function relationshipsOf(event: Recorded, given: readonly OcelRelation[]): Relationship[] {
  if (!Array.isArray(given)) {
    const message = `what relations returned for ${quote(event.type)} is no list: return [{ object, qualifier }], or []`
    throw new InvalidArgumentError('relations', { message })
  }
  const found = [{ objectId: event.stream, qualifier: 'stream' }]
  for (const [i, { object, qualifier }] of (given as readonly OcelRelation[]).entries()) {
    checkText(qualifier, `relations: [${String(i)}].qualifier`, 'a qualifier')
    const objectId = streamName(object, `relations: [${String(i)}].object`)
    if (found.every((known) => known.objectId !== objectId || known.qualifier !== qualifier))
      found.push({ objectId, qualifier })
  }
  return found
}

/** The attributes of an event; their types are noted. */
function attributesOf({ data, metadata }: Recorded, known: Map<string, AttributeType>): Attribute[] {
  const attributes: Attribute[] = []
  const add = (name: string, value: unknown): void => {
    if (value === null || value === undefined || isSealed(value)) return
    if (typeof value === 'object' && !Array.isArray(value)) {
      for (const [key, item] of Object.entries(value)) add(`${name}.${key}`, item)
      return
    }
    const type = typeOf(value)
    const before = known.get(name)
    known.set(name, before === undefined ? type : commonOf(before, type))
    attributes.push({
      name,
      value: typeof value === 'string' ? value : JSON.stringify(value),
    })
  }
  for (const [key, value] of Object.entries(data as object)) add(key, value)
  for (const [key, value] of Object.entries(metadata)) add(`@${key}`, value)
  return attributes
}

function typeOf(value: unknown): AttributeType {
  if (typeof value === 'boolean') return 'boolean'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'float'
  return isRecordedTime(value) ? 'time' : 'string'
}

/** The type of values of two types. */
function commonOf(a: AttributeType, b: AttributeType): AttributeType {
  if (a === b) return a
  const areNumbers = [a, b].every((type) => type === 'integer' || type === 'float')
  return areNumbers ? 'float' : 'string'
}

/** Length of the pieces of text. */
const TEXT_LENGTH = 64 * 1024
