import type { Position } from '../base/revision.ts'
import type { Recorded } from '../model/event.ts'
import { isFieldName, MAX_DEPTH, MAX_KEYS, pathTo } from './paths.ts'

/**
 * What is wrong with recorded events:
 * - `unknown-type`: the aggregate does not know the type; its definition was removed, or renamed without `formerly`.
 * - `newer-version`: the aggregate knows the type up to an earlier version; a newer program wrote the event, or a `next`
 *   was removed.
 * - `upcast-failed`: an upcast threw, or returned no object.
 * - `schema-refused`: the schema of the newest version refuses the data, upcast if it is older. Reading never checks, so
 *   commands go on; but `apply` meets data that its types deny.
 * - `fold-failed`: `apply` threw, returned nothing, or returned a state that cannot be frozen.
 * - `seal-broken`: a sealed personal value was moved there from another event or field.
 * - `missing-events`: the stream lacks revisions between two others.
 */
export type FindingKind =
  | 'unknown-type'
  | 'newer-version'
  | 'upcast-failed'
  | 'schema-refused'
  | 'fold-failed'
  | 'seal-broken'
  | 'missing-events'

/** Where an event stands. */
export interface EventPlace {
  readonly stream: string
  readonly revision: number
  readonly position: Position
  readonly time: string
}

/** Recorded events that the program cannot read rightly, all for the same reason. It holds no value of their data. */
export interface HistoryFinding {
  readonly kind: FindingKind
  /** The category of the aggregate on whose streams the events are. */
  readonly category: string
  /** Their type, as it is recorded. */
  readonly type: string
  /** Their version, as it is recorded. */
  readonly version: number
  /** How many events. Of a fold that failed, only the event at which it failed counts. */
  readonly events: number
  /** The first of them. */
  readonly first: EventPlace
  /** The last of them. */
  readonly last: EventPlace
  /** The fields that the schema refused, like `'items[].sku'`; `'.'` stands for the data as a whole. */
  readonly paths?: readonly string[]
  /** The class of the error that was thrown. Its message may hold data, so it is not told. */
  readonly error?: string
}

/** Counts findings by their reasons. */
export class Findings {
  readonly #groups = new Map<string, Group>()
  readonly #max: number
  #omitted = 0

  constructor(max: number) {
    this.#max = max
  }

  /** Events with findings that are in no group, because there are too many groups. */
  get omitted(): number {
    return this.#omitted
  }

  get count(): number {
    return this.#groups.size
  }

  add(
    kind: FindingKind,
    category: string,
    event: Recorded,
    reason: {
      error?: string | undefined
      paths?: readonly (readonly PropertyKey[])[]
      dictionaries?: ReadonlySet<string> | undefined
    } = {},
  ): void {
    const { error } = reason
    const key = JSON.stringify([kind, category, event.type, event.version, error])
    let group = this.#groups.get(key)
    if (!group) {
      if (this.#groups.size >= this.#max) {
        this.#omitted++
        return
      }
      const { type, version } = event
      const first = placeOf(event)
      group = { kind, category, type, version, error, events: 0, first, last: first, paths: new PathTree() }
      this.#groups.set(key, group)
    }
    group.events++
    group.last = placeOf(event)
    for (const path of reason.paths ?? []) group.paths.add(path, reason.dictionaries)
  }

  list(): HistoryFinding[] {
    return [...this.#groups.values()].map(({ paths, error, ...rest }) => ({
      ...rest,
      ...(rest.kind === 'schema-refused' && error === undefined && { paths: paths.list() }),
      ...(error !== undefined && { error }),
    }))
  }
}

interface Group extends Omit<HistoryFinding, 'events' | 'last' | 'paths' | 'error'> {
  readonly error: string | undefined
  readonly paths: PathTree
  events: number
  last: EventPlace
}

export function placeOf({ stream, revision, position, time }: Recorded): EventPlace {
  return { stream, revision, position, time }
}

/** The name of the class of what was thrown. Not its `name`, which is a value like any other. */
export function className(thrown: unknown): string {
  if (typeof thrown !== 'object' || thrown === null) return typeof thrown
  const { name } = Object(thrown.constructor) as { readonly name?: unknown }
  return typeof name === 'string' && isFieldName(name) ? name : 'Error'
}

/** The paths of issues. The keys of an object with many of them are values, so they become `*`. */
class PathTree {
  #children = new Map<string, PathTree>()
  #isDictionary = false
  #isEnd = false

  add(path: readonly PropertyKey[], dictionaries: ReadonlySet<string> | undefined): void {
    let [node, at]: [PathTree, string] = [this, '']
    for (const key of path.slice(0, MAX_DEPTH)) {
      const name =
        typeof key === 'number' || /^\d+$/.test(String(key))
          ? '[]'
          : dictionaries?.has(at) || !isFieldName(String(key))
            ? '*'
            : String(key)
      node = node.#child(name)
      at = name === '[]' ? `${at}[]` : pathTo(at, name)
    }
    node.#isEnd = true
  }

  list(at = ''): string[] {
    const paths = this.#isEnd ? [at === '' ? '.' : at] : []
    for (const [name, child] of this.#children) {
      paths.push(...child.list(name === '[]' ? `${at}[]` : pathTo(at, name)))
    }
    return paths.sort()
  }

  #child(name: string): PathTree {
    const key = this.#isDictionary && name !== '[]' ? '*' : name
    const known = this.#children.get(key)
    if (known) return known
    if (this.#children.size < MAX_KEYS) return this.#keep(key, new PathTree())
    this.#isDictionary = true
    const all = new PathTree()
    for (const child of this.#children.values()) all.#merge(child)
    this.#children = new Map()
    return this.#keep('*', all)
  }

  #keep(key: string, node: PathTree): PathTree {
    this.#children.set(key, node)
    return node
  }

  #merge(other: PathTree): void {
    this.#isEnd ||= other.#isEnd
    for (const [name, child] of other.#children) this.#child(name).#merge(child)
  }
}
