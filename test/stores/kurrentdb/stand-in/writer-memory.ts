import { deletedStream, type Log } from './log.ts'
import { lastRevision } from './stream-metadata.ts'

/** What the writer remembers of what was written since the server was started. */
export class WriterMemory {
  readonly #log: Log
  readonly #places = new Map<string, { readonly stream: string; readonly revision: bigint }>()
  readonly #streams = new Set<string>()

  constructor(log: Log) {
    this.#log = log
  }

  add(stream: string, id: string, revision: bigint): void {
    this.#streams.add(stream)
    // The first place is kept, also where the id is used again elsewhere.
    if (!this.#places.has(id)) this.#places.set(id, { stream, revision })
  }

  /**
   * The revision of the event with the id: under no exact expectation, only this tells a repeat. `undefined` also
   * where the id was used in another stream before.
   */
  find(stream: string, id: string): bigint | undefined {
    const place = this.#places.get(id)
    return place?.stream === stream ? place.revision : undefined
  }

  /** As the writer has it: it does not notice that a tombstone took the metadata with it if it wrote them itself. */
  lastRevision(stream: string): bigint {
    if (!this.#streams.has(stream)) return lastRevision(this.#log, stream)
    return this.#log.isTombstoned(stream) ? deletedStream : BigInt(this.#log.eventsOf(stream).length) - 1n
  }

  /** As a restart does, or, of ids, the memory's limit. */
  forget(): void {
    this.#places.clear()
    this.#streams.clear()
  }
}
