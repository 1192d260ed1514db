import { checkOptions, checkSignal } from '../base/arguments.ts'
import type { Position } from '../base/revision.ts'
import type { KeptKey } from '../adapter/store-adapter.ts'
import { checkPosition } from '../store/arguments.ts'
import { coreOf } from '../store/create-store.ts'
import type { EventStore } from '../store/event-store.ts'
import type { ExportedEvent, ExportedKey } from './recorded.ts'

/** Options of `exportEvents`. */
export interface ExportOptions {
  /** Only what follows this position. Default: everything. */
  readonly after?: Position | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Gives the events of a store, up to where it stands now, each with the idempotency keys that begin with it: the input of
 * `importEvents`. Plain JSON.
 *
 * @throws the errors of `readAll`; the signal's reason.
 */
export async function* exportEvents(
  store: EventStore,
  options: ExportOptions = {},
): AsyncGenerator<ExportedEvent, undefined> {
  const core = coreOf(store)
  checkOptions(options, 'options', ['after', 'signal'])
  const after = checkPosition(options.after, 'after')
  const signal = checkSignal(options.signal)
  // What is appended later may have keys that were not read.
  const to = await store.logHead()
  if (to === undefined) return undefined
  const keys = new KeysInOrder(core.keysForUser(after))
  try {
    for await (const event of store.readAll({ after, to, signal })) {
      const own = await keys.beginningWith(event.position)
      yield own.length > 0 ? { ...event, keys: own } : event
    }
  } finally {
    await keys.end()
  }
  return undefined
}

/** The keys of a store, handed out with the events that they begin with. */
export class KeysInOrder {
  readonly #pages: AsyncIterator<readonly KeptKey[], undefined>
  #page: readonly KeptKey[] = []
  #next = 0
  #isOver = false

  constructor(pages: AsyncIterable<readonly KeptKey[]>) {
    this.#pages = pages[Symbol.asyncIterator]() as AsyncIterator<readonly KeptKey[], undefined>
  }

  /** Whether it is known already that no key begins with an event. */
  hasNoneAt(position: Position): boolean {
    const next = this.#page[this.#next]
    return next ? next.from > position : this.#isOver
  }

  /** The keys of which this is the first event that is left. */
  async beginningWith(position: Position): Promise<ExportedKey[]> {
    const found: ExportedKey[] = []
    for (let kept = await this.#peek(); kept && kept.from <= position; kept = await this.#peek()) {
      this.#next++
      // Unless all of its events were erased.
      const { key, fingerprint, through, streams } = kept
      if (through >= position) found.push({ key, fingerprint, through, streams })
    }
    return found
  }

  async end(): Promise<void> {
    await this.#pages.return?.()
  }

  async #peek(): Promise<KeptKey | undefined> {
    while (this.#next >= this.#page.length && !this.#isOver) {
      const { done, value } = await this.#pages.next()
      this.#isOver = done === true
      this.#page = value ?? []
      this.#next = 0
    }
    return this.#page[this.#next]
  }
}
