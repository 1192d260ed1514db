import { UnsupportedError, quote } from '../base/errors.ts'
import { nextRevision } from '../adapter/append-rules.ts'
import { ERASURES_STREAM, erasures } from '../model/erasures.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import type { CopySource } from './copy-source.ts'
import type { Importing } from './import.ts'
import type { ExportedKey, Imported } from './recorded.ts'
import { type Derived, originOf, type Transformed } from './transform.ts'

/** Gives the events that a transform made their revisions in the target, and imports them. */
export class Deriver {
  readonly #source: CopySource
  readonly #to: StoreCore
  readonly #importing: Importing
  /** The next revision of each stream of the target. */
  readonly #next = new Map<string, number>()
  /** Keys whose last event is still to come, or of which no event was left yet. */
  #open: ExportedKey[] = []

  constructor(source: CopySource, to: StoreCore, importing: Importing) {
    this.#source = source
    this.#to = to
    this.#importing = importing
  }

  async add(event: Imported, { events }: Transformed): Promise<void> {
    // A copy that is resumed goes on behind a whole event of the source.
    if (events.length > 1 && !(await this.#importing.makeRoomFor(events))) {
      throw new UnsupportedError(
        `a transform made ${String(events.length)} events of one, in stream ${quote(event.stream)}, which do not fit into one append: make fewer, or smaller ones, for fewer streams`,
      )
    }
    // A key whose first events are left out begins with the first one that is not.
    const waiting = [...this.#open.filter(({ through }) => through >= event.position!), ...event.keys]
    this.#open = events.length > 0 ? [] : waiting
    for (const [index, derived] of events.entries()) {
      const isNotice = event.stream === ERASURES_STREAM
      const made = isNotice ? await this.#notice(derived) : derived
      if (!made) continue
      const keys = index === 0 ? waiting : []
      // All but the last one lie before the end of a key: the key covers them all.
      const isLast = index === events.length - 1
      const position = isLast ? made.position : undefined
      const revision = await this.#revisionOf(made, event)
      await this.#importing.add({ ...made, revision, position, keys })
      this.#next.set(made.stream, revision + 1)
    }
    this.#importing.pass(event.position!)
  }

  async #revisionOf({ stream }: Derived, origin: Imported): Promise<number> {
    const known = this.#next.get(stream)
    if (known !== undefined) return known
    if (this.#next.size >= MAX_STREAMS) {
      // What is asked of the target must be there.
      await this.#importing.flush()
      await this.#importing.settle()
      this.#next.clear()
    }
    const [head] = await this.#to.track(() => this.#to.heads([stream]))
    const isCut =
      head === 'none' && origin.revision > 0 && (await this.#source.firstRevision(origin.stream)) > 0
    if (!isCut) return nextRevision(head!)
    // A stream whose beginning is gone must not look like a whole one.
    const { adapter } = this.#to
    if (!adapter.skip)
      throw new UnsupportedError(
        'this store cannot keep a stream without its beginning, and the source has one',
      )
    await this.#to.track(() => adapter.skip!({ stream, expected: 'none', before: 1 }))
    return 1
  }

  /** A notice of a truncation, with the revision that the stream has in the target; nothing, if nothing of the stream is there. */
  async #notice(notice: Derived): Promise<Derived | undefined> {
    if (notice.stream !== ERASURES_STREAM) return notice
    await this.#importing.flush()
    await this.#importing.settle()
    const data = JSON.parse(notice.data) as { readonly stream: string; readonly before: number }
    if (notice.type !== erasures.StreamTruncated.type) return notice
    const before = await this.#to.track(() => this.#beforeIn(data.stream, data.before))
    return before === undefined ? undefined : { ...notice, data: JSON.stringify({ ...data, before }) }
  }

  /** The first revision of a stream in the target that comes from a revision of the source, or behind it. */
  async #beforeIn(stream: string, before: number): Promise<number | undefined> {
    const request = {
      stream,
      direction: 'forwards',
      from: undefined,
      to: undefined,
      limit: undefined,
    } as const
    let origin: string | undefined
    for await (const page of this.#to.read(request)) {
      for (const { revision, metadata } of page) {
        const [from, at] = originOf(metadata) ?? ['', 0]
        if (origin !== undefined && from !== origin) {
          throw new UnsupportedError(
            `stream ${quote(stream)} was made of several streams, of which one was truncated: let the transform leave out the mneme.StreamTruncated, and truncate it yourself`,
          )
        }
        origin = from
        if (at >= before) return revision
      }
    }
    const [head] = await this.#to.heads([stream])
    return head === 'none' ? undefined : nextRevision(head!)
  }
}

/** Streams of which the next revision is remembered. */
const MAX_STREAMS = 100_000
