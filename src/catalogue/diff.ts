import { type Catalogue, type CatalogueEvent, checkCatalogue } from './catalogue.ts'
import { mismatches } from './compare-schemas.ts'
import type { ShownSchema } from './json-schema.ts'

/**
 * Whom a change breaks: `backward`, the new program, when it reads what the old one wrote; `forward`, the old program, when it
 * reads what the new one writes during a rolling deploy, or after going back to it.
 */
export type BreakDirection = 'backward' | 'forward'

/** What has changed. */
export type CatalogueChangeKind =
  | 'aggregate-removed'
  | 'event-removed'
  | 'event-added'
  | 'event-renamed'
  | 'version-lowered'
  | 'version-raised'
  | 'schema-changed'
  | 'personal-changed'
  | 'reaction-removed'
  | 'command-removed'
  | 'command-added'
  | 'input-changed'

/** A change that breaks the old program or the new one. */
export interface BreakingChange {
  readonly breaks: BreakDirection
  readonly kind: CatalogueChangeKind
  /** The type of the event, or the name of the aggregate, the command or the reaction. */
  readonly subject: string
  /** The field, if it is one. */
  readonly path?: string
  /** What happens, and what to do. */
  readonly message: string
}

/**
 * Names the changes that break one of two programs while both run, or the new one on the history that the old one left.
 * An upcast is trusted: of a version that was raised, schemas are not compared.
 *
 * @throws InvalidArgumentError if one of them is no catalogue.
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises'
 * const before = JSON.parse(await readFile('catalogue.json', 'utf8')) as Catalogue
 * for (const { breaks, message } of diffCatalogues(before, catalogue({ aggregates: [Door] }))) {
 *   console.log(breaks, message)
 * }
 * ```
 */
export function diffCatalogues(before: Catalogue, after: Catalogue): BreakingChange[] {
  checkCatalogue(before, 'before')
  checkCatalogue(after, 'after')
  const diff = new Diff(before, after)
  for (const name of Object.keys(before.aggregates)) diff.aggregate(name)
  for (const name of Object.keys(before.reactions)) diff.reaction(name)
  const isBackward = ({ breaks }: BreakingChange) => breaks === 'backward'
  return [...diff.changes.filter(isBackward), ...diff.changes.filter((change) => !isBackward(change))]
}

class Diff {
  readonly changes: BreakingChange[] = []
  readonly #before: Catalogue
  readonly #after: Catalogue
  /** Pairs of events that are compared already: an event may belong to several aggregates. */
  readonly #compared = new Set<string>()

  constructor(before: Catalogue, after: Catalogue) {
    this.#before = before
    this.#after = after
  }

  aggregate(name: string): void {
    if (!this.#after.aggregates[name]) {
      const message = `the aggregate ${name} is gone, and its history with it: keep it as long as somebody reads its streams`
      this.#add('backward', 'aggregate-removed', name, message)
      return
    }
    const [old, present] = [knownTypes(this.#before, name), knownTypes(this.#after, name)]
    for (const type of old.keys()) {
      if (present.has(type)) continue
      const message = `events ${type} are recorded, but ${name} does not know them any more: keep the event, or name it by formerly('${type}')`
      this.#add('backward', 'event-removed', type, message)
    }
    for (const [type, current] of present) {
      if (type !== current) continue
      const known = old.get(type)
      if (known === undefined) this.#newType(name, type, old)
      else this.#event(known, type)
    }
    // What was renamed has the versions of one event all the same.
    for (const [type, known] of old) {
      const current = present.get(type)
      if (type === known && current !== undefined && current !== type) this.#event(known, current)
    }
  }

  #newType(aggregate: string, type: string, old: ReadonlyMap<string, string>): void {
    const { formerly } = this.#after.events[type]!
    const isRenamed = formerly.some((name) => old.has(name))
    const what = isRenamed ? 'renamed' : 'new'
    this.#add(
      'forward',
      isRenamed ? 'event-renamed' : 'event-added',
      type,
      `${type} is ${what}: programs that are still running refuse streams of ${aggregate} that have one; first deploy a program that ` +
        (isRenamed ? `knows it by formerly('${type}')` : 'knows it, then one that writes it'),
    )
  }

  #event(before: string, after: string): void {
    const pair = `${before} ${after}`
    if (this.#compared.has(pair)) return
    this.#compared.add(pair)
    const [old, present] = [this.#before.events[before]!, this.#after.events[after]!]
    if (present.version > old.version) {
      const message = `${after} has version ${String(present.version)}: programs that are still running refuse streams that have one`
      this.#add('forward', 'version-raised', after, message)
    } else if (present.version < old.version) {
      const message = `${after} is known up to version ${String(present.version)}, but version ${String(old.version)} is recorded: put its .next back`
      this.#add('backward', 'version-lowered', after, message)
    } else {
      this.#schemas(after, old, present)
      this.#personal(after, old, present)
    }
  }

  #personal(type: string, old: CatalogueEvent, present: CatalogueEvent): void {
    for (const path of old.personal) {
      if (present.personal.includes(path)) continue
      const message = `${path} of ${type} is recorded sealed, but is no personal field any more: keep it in personal(...), or give the event a new version`
      this.#add('backward', 'personal-changed', type, message, path)
    }
    for (const path of present.personal) {
      if (old.personal.includes(path)) continue
      const message = `${path} of ${type} is a personal field now: programs that are still running take the sealed value for a plain one; give the event a new version, which they refuse`
      this.#add('forward', 'personal-changed', type, message, path)
    }
  }

  #schemas(type: string, old: CatalogueEvent, present: CatalogueEvent): void {
    this.#mismatches(
      old,
      present,
      'backward',
      'schema-changed',
      type,
      `in a recorded ${type}`,
      'give it a new version, by .next',
    )
    const advice = 'first deploy a program that expects both'
    this.#mismatches(present, old, 'forward', 'schema-changed', type, `in a new ${type}`, advice)
  }

  reaction(name: string): void {
    const old = this.#before.reactions[name]!
    const present = this.#after.reactions[name]
    if (!present) {
      const message = `the reaction ${name} is gone: its timers never fire; keep it until it has none`
      this.#add('backward', 'reaction-removed', name, message)
      return
    }
    for (const command of old.commands) {
      if (present.commands.includes(command)) this.#input(name, command)
      else {
        const message = `the reaction ${name} no longer calls ${command}: a timer of it blocks the reaction; keep it in 'commands' until it has none`
        this.#add('backward', 'command-removed', command, message)
      }
    }
    for (const command of present.commands) {
      if (old.commands.includes(command)) continue
      const message = `the reaction ${name} calls ${command}: a timer of it blocks a program that is still running, if that takes the reaction over`
      this.#add('forward', 'command-added', command, message)
    }
  }

  /** A timer keeps its command's input, which the schema of another program then checks. */
  #input(reaction: string, command: string): void {
    const [old, present] = [this.#before.commands[command], this.#after.commands[command]]
    if (!old || !present) return
    const where = `in a timer of ${reaction}, the input of ${command}`
    this.#mismatches(old, present, 'backward', 'input-changed', command, where, 'accept both')
    this.#mismatches(
      present,
      old,
      'forward',
      'input-changed',
      command,
      where,
      'first deploy a program that accepts both',
    )
  }

  #mismatches(
    writer: ShownSchema,
    reader: ShownSchema,
    breaks: BreakDirection,
    kind: CatalogueChangeKind,
    subject: string,
    where: string,
    advice: string,
  ): void {
    if (!writer.schema || !reader.schema) return
    for (const { path, problem } of mismatches(writer.schema, reader.schema)) {
      const field = path === '.' ? 'the data' : path
      this.#add(breaks, kind, subject, `${where}, ${field} ${problem}: ${advice}`, path)
    }
  }

  #add(
    breaks: BreakDirection,
    kind: CatalogueChangeKind,
    subject: string,
    message: string,
    path?: string,
  ): void {
    this.changes.push({ breaks, kind, subject, ...(path !== undefined && { path }), message })
  }
}

/** The names of an aggregate's events, present and former, with the present ones. */
function knownTypes({ aggregates, events }: Catalogue, name: string): Map<string, string> {
  const types = aggregates[name]?.events ?? []
  return new Map(
    types.flatMap((type) => [type, ...(events[type]?.formerly ?? [])].map((each) => [each, type] as const)),
  )
}
