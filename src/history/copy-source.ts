import { StreamDeletedError } from '../base/errors.ts'
import { bytesOf } from '../base/limits.ts'
import type { Position } from '../base/revision.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import { checkEventType, checkStreamName } from '../model/names.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import { KeysInOrder } from './export.ts'
import type { ImportSource } from './import.ts'
import type { ExportedKey, Imported } from './recorded.ts'

/** The store that is copied. */
export class CopySource implements ImportSource {
  readonly #core: StoreCore

  constructor(core: StoreCore) {
    this.#core = core
  }

  /** The events of a part of the log in pages, each with the keys that begin with it. The next page is read ahead. */
  async *pages(after: Position | undefined, to: Position): AsyncGenerator<Imported[], undefined> {
    const keys = new KeysInOrder(this.#core.keysForUser(after))
    const request = { streams: undefined, categories: undefined, types: undefined, limit: undefined }
    const pages = this.#core.readAllForUser({ ...request, direction: 'forwards', after, to })
    let next = pages.next()
    next.catch(() => undefined)
    try {
      for (;;) {
        const { done, value } = await next
        if (done === true) return undefined
        next = pages.next()
        next.catch(() => undefined)
        const page: Imported[] = []
        for (const stored of value) {
          const { position } = stored
          page.push(
            importedOf(stored, keys.hasNoneAt(position) ? NO_KEYS : await keys.beginningWith(position)),
          )
        }
        yield page
      }
    } finally {
      await Promise.allSettled([next.then(() => pages.return?.()), keys.end()])
    }
  }

  async isErased(stream: string, revision: number): Promise<boolean> {
    return (await this.firstRevision(stream)) >= revision
  }

  /** The first revision that a stream has; infinite if it was deleted; of a stream of which nothing is left, the next one. */
  firstRevision(stream: string): Promise<number> {
    return this.#core.track(async () => {
      try {
        const request = { stream, direction: 'forwards', from: undefined, to: undefined, limit: 1 } as const
        for await (const [first] of this.#core.read(request)) if (first) return first.revision
        const [head] = await this.#core.heads([stream])
        return head === 'none' ? 0 : head! + 1
      } catch (error) {
        if (error instanceof StreamDeletedError) return Infinity
        throw error
      }
    })
  }

  /** The event of a stream with an id, looked for from the end. */
  find(stream: string, id: string): Promise<StoredEvent | undefined> {
    return this.#core.track(async () => {
      try {
        const part = { from: undefined, to: undefined, limit: undefined }
        for await (const page of this.#core.read({ stream, direction: 'backwards', ...part })) {
          const found = page.find((event) => event.id === id)
          if (found) return found
        }
      } catch (error) {
        if (!(error instanceof StreamDeletedError)) throw error
      }
      return undefined
    })
  }

  /** The event at a revision of a stream, if it can be read. */
  eventAt(stream: string, revision: number): Promise<StoredEvent | undefined> {
    return this.#core.track(async () => {
      try {
        const request = { stream, direction: 'forwards', from: revision, to: revision, limit: 1 } as const
        for await (const [event] of this.#core.read(request)) return event
      } catch (error) {
        if (!(error instanceof StreamDeletedError)) throw error
      }
      return undefined
    })
  }
}

/** A stored event as it is imported: its texts are taken over as they are. */
function importedOf(stored: StoredEvent, keys: readonly ExportedKey[]): Imported {
  const { stream, type, data, metadata } = stored
  // Another program may have written it, which only KurrentDB lets happen.
  checkStreamName(stream, 'the name of a stream to copy')
  if (!knownTypes.has(type)) {
    checkEventType(type, `the type of an event to copy, in stream ${stream}`)
    if (knownTypes.size > MAX_KNOWN_TYPES) knownTypes.clear()
    knownTypes.add(type)
  }
  return { ...stored, keys, bytes: sizeOf(data) + sizeOf(metadata) }
}

/** Bytes in UTF-8; encoding a text to count them is slow. */
function sizeOf(text: string): number {
  return ONLY_ASCII.test(text) ? text.length : bytesOf(text, 0)
}

const ONLY_ASCII = /^[ -~]*$/
const NO_KEYS: readonly ExportedKey[] = []
const knownTypes = new Set<string>()
const MAX_KNOWN_TYPES = 10_000
