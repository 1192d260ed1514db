import type { Attributes } from '@opentelemetry/api'
import { errorType } from './attributes.ts'

/** The attributes of the metrics of one command or category, each made once: to copy them costs more than to record. */
export class Labels {
  readonly own: Attributes
  readonly cached: Attributes
  readonly uncached: Attributes
  readonly #byOutcome = new Map<string, Attributes>()

  constructor(command: string | undefined, category: string) {
    this.own =
      command === undefined
        ? { 'mneme.category': category }
        : { 'mneme.command': command, 'mneme.category': category }
    this.cached = { ...this.own, 'mneme.cached': true }
    this.uncached = { ...this.own, 'mneme.cached': false }
  }

  withOutcome(outcome: string, error: unknown): Attributes {
    if (outcome === 'error') return { ...this.own, 'mneme.outcome': outcome, 'error.type': errorType(error) }
    let attributes = this.#byOutcome.get(outcome)
    if (!attributes) this.#byOutcome.set(outcome, (attributes = { ...this.own, 'mneme.outcome': outcome }))
    return attributes
  }
}

/** The labels of all commands and categories, of which a program has few. */
export class LabelCache {
  readonly #appends = new Map<string, Labels>()
  readonly #commands = new Map<string, Map<string, Labels>>()

  of(command: string | undefined, category: string): Labels {
    let byCategory = this.#appends
    if (command !== undefined) {
      byCategory = this.#commands.get(command) ?? new Map<string, Labels>()
      if (byCategory.size === 0) keep(this.#commands, command, byCategory)
    }
    return byCategory.get(category) ?? keep(byCategory, category, new Labels(command, category))
  }
}

/** Names of streams without a category are categories, and may be many: those are not kept for ever. */
function keep<V>(map: Map<string, V>, key: string, value: V): V {
  if (map.size >= MAX_LABELS) map.clear()
  map.set(key, value)
  return value
}

const MAX_LABELS = 256
