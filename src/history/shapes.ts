import { checkList, checkOptions, checkSignal } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import { checkFunction } from '../base/functions.ts'
import type { AnyAggregate } from '../model/aggregate.ts'
import { type AnyEventType, eventTypeRecord } from '../model/event-type.ts'
import { categoryOf } from '../model/names.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import { FieldNode } from './fields.ts'
import { missingFields } from './missing-fields.ts'
import { checkDictionaries, type Dictionaries } from './paths.ts'
import { checkAggregates } from './streams.ts'

/**
 * The shapes of recorded events: plain JSON, to be committed as a file beside the program. It holds names of fields and
 * their JSON types, never values. Everything in it is sorted, so that the difference of two recordings is small.
 */
export interface RecordedShapes {
  /** `'mneme shapes 1'`. */
  readonly format: string
  /** By the category of the streams, the type of the events and their version, both as recorded. */
  readonly categories: {
    readonly [category: string]: { readonly [type: string]: { readonly [version: string]: RecordedShape } }
  }
}

/** Events of one type and version. */
export interface RecordedShape {
  /** How many events. */
  readonly events: number
  /** The day on which the first of them was recorded, in UTC. */
  readonly first: string
  /** The day on which the last of them was recorded, in UTC. */
  readonly last: string
  /**
   * The JSON types of their fields by path, like `'items[].sku': 'string'`. A path that ends in `?` is not in every event;
   * `string | null` is one or the other; `*` stands for keys that are values.
   */
  readonly fields: { readonly [path: string]: string }
}

/** Options of `recordShapes`. */
export interface RecordShapesOptions {
  readonly dictionaries?: Dictionaries | undefined
  /** Aborts it, with its reason. */
  readonly signal?: AbortSignal | undefined
  /** Called after every 1,000 events with their number, and at the end. */
  readonly onProgress?: ((events: number) => void) | undefined
}

const FORMAT = 'mneme shapes 1'
const EVENTS_PER_PROGRESS = 1_000

/**
 * Records which shapes of events the aggregates' streams hold, by reading all of them.
 *
 * @throws what the store throws if it fails; the signal's reason; InvalidArgumentError
 * @example
 * ```ts
 * import { writeFile } from 'node:fs/promises'
 * await writeFile('history.json', JSON.stringify(await recordShapes(store, [Door]), null, 2))
 * ```
 */
export async function recordShapes(
  store: EventStore,
  aggregates: readonly AnyAggregate[],
  options: RecordShapesOptions = {},
): Promise<RecordedShapes> {
  coreOf(store)
  checkOptions(options, 'options', ['dictionaries', 'signal', 'onProgress'])
  const { onProgress } = options
  const signal = checkSignal(options.signal)
  if (onProgress !== undefined) checkFunction(onProgress, 'onProgress')
  const dictionaries = checkDictionaries(options.dictionaries)
  const categories = [...checkAggregates(aggregates).keys()]
  const found = new Map<string, Found>()
  let events = 0
  for await (const { stream, type, version, time, data } of store.readAll({ categories, signal })) {
    const category = categoryOf(stream)
    const key = `${category} ${type} ${String(version)}`
    let shape = found.get(key)
    if (!shape) {
      shape = { category, type, version, events: 0, first: time, last: time, fields: new FieldNode() }
      found.set(key, shape)
    }
    shape.events++
    if (time < shape.first) shape.first = time
    if (time > shape.last) shape.last = time
    shape.fields.add(data, '', dictionaries.get(type))
    if (++events % EVENTS_PER_PROGRESS === 0) onProgress?.(events)
  }
  if (events % EVENTS_PER_PROGRESS !== 0) onProgress?.(events)
  return { format: FORMAT, categories: sorted([...found.values()]) }
}

interface Found {
  readonly category: string
  readonly type: string
  readonly version: number
  events: number
  first: string
  last: string
  readonly fields: FieldNode
}

function sorted(found: Found[]): RecordedShapes['categories'] {
  const categories: Record<string, Record<string, Record<string, RecordedShape>>> = {}
  const order = ({ category, type, version }: Found) =>
    [category, type, String(version).padStart(16, '0')].join(' ')
  for (const one of found.sort((a, b) => (order(a) < order(b) ? -1 : 1))) {
    const { category, type, version, events, first, last, fields } = one
    const days = { first: first.slice(0, 10), last: last.slice(0, 10) }
    const types = (categories[category] ??= {})
    const versions = (types[type] ??= {})
    versions[String(version)] = { events, ...days, fields: fields.list() }
  }
  return categories
}

/**
 * What a program cannot read of the recorded shapes:
 * - `unknown-category`: the program has no aggregate of this name.
 * - `unknown-type`: the aggregate does not know the type.
 * - `newer-version`: the aggregate knows the type up to an earlier version.
 * - `missing-field`: the schema of the newest version demands a field that events of this version lack.
 */
export type ShapeFindingKind = 'unknown-category' | 'unknown-type' | 'newer-version' | 'missing-field'

/** Recorded events that a program cannot read, by their shape. */
export interface ShapeFinding {
  readonly kind: ShapeFindingKind
  readonly category: string
  readonly type: string
  readonly version: number
  /** How many such events there were when the shapes were recorded. */
  readonly events: number
  /** The day on which the last of them was recorded. */
  readonly last: string
  /** The fields that some of the events lack, or all. */
  readonly paths?: readonly string[]
}

/** Options of `checkShapes`. */
export interface CheckShapesOptions {
  /** Events whose schemas refuse their own output: their schemas are not asked. */
  readonly unchecked?: readonly AnyEventType[] | undefined
}

/**
 * Checks without a database that a program can read what was recorded, by the shapes that `recordShapes` gave: every type
 * and version is known, and what the schema of a newest version demands is there. It finds less than `checkHistory`, which
 * sees the data.
 *
 * @throws InvalidArgumentError if the shapes are of another format, or an argument is wrong.
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises'
 * const shapes = JSON.parse(await readFile('history.json', 'utf8')) as RecordedShapes
 * const findings = checkShapes(shapes, [Door])
 * ```
 */
export function checkShapes(
  shapes: RecordedShapes,
  aggregates: readonly AnyAggregate[],
  options: CheckShapesOptions = {},
): ShapeFinding[] {
  checkOptions(options, 'options', ['unchecked'])
  const unchecked = new Set(checkList(options.unchecked, 'unchecked', eventTypeRecord))
  const known = checkAggregates(aggregates)
  const findings: ShapeFinding[] = []
  for (const { category, type, version, shape } of listOf(shapes)) {
    const found = (kind: ShapeFindingKind, paths?: readonly string[]) => {
      const { events, last } = shape
      findings.push({ kind, category, type, version, events, last, ...(paths && { paths }) })
    }
    const aggregate = known.get(category)
    const record = aggregate?.fold.eventTypes.get(type)
    if (!aggregate) found('unknown-category')
    else if (!record) found('unknown-type')
    else if (version > record.version) found('newer-version')
    else if (version === record.version && record.schema && !unchecked.has(record)) {
      const paths = missingFields(record.schema, shape.fields)
      if (paths.length > 0) found('missing-field', paths)
    }
  }
  return findings
}

/** @throws InvalidArgumentError */
function listOf(shapes: RecordedShapes) {
  const { format, categories } = Object(shapes) as Partial<RecordedShapes>
  if (format !== FORMAT) {
    throw new InvalidArgumentError('shapes', `what recordShapes returned, of the format '${FORMAT}'`)
  }
  return entriesOf(categories).flatMap(([category, types]) =>
    entriesOf(types).flatMap(([type, versions]) =>
      entriesOf(versions).map(([version, shape]) => {
        const at = `shapes.categories['${category}']['${type}']['${version}']`
        const { fields } = Object(shape) as Partial<RecordedShape>
        const isWhole = entriesOf(fields).every(([, types]) => typeof types === 'string')
        if (!isWhole || !/^[1-9]\d*$/.test(version)) throw new InvalidArgumentError(at, 'a recorded shape')
        return { category, type, version: Number(version), shape }
      }),
    ),
  )
}

/** @throws InvalidArgumentError */
function entriesOf<T>(object: Readonly<Record<string, T>> | undefined): [string, T][] {
  if (typeof object === 'object' && (object as unknown) !== null) return Object.entries(object)
  throw new InvalidArgumentError('shapes', 'what recordShapes returned: a part of it is missing')
}
