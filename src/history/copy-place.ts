import { ImportConflictError } from '../base/errors.ts'
import type { Position } from '../base/revision.ts'
import type { StoredEvent } from '../adapter/store-adapter.ts'
import type { StoreCore } from '../store/lifecycle.ts'
import type { CopySource } from './copy-source.ts'
import { originOf } from './transform.ts'

/**
 * Finds how far an earlier copy came: events are copied in the order of the log, so the last one in the target tells. If it was
 * erased in the source since, the last one before it that was not.
 *
 * @returns the position in the source behind which the copy goes on; `undefined`: from the beginning.
 * @throws ImportConflictError if the target has an event that the source never had.
 */
export async function findPlace(
  source: CopySource,
  target: StoreCore,
  isTransformed: boolean,
): Promise<Position | undefined> {
  const firstRevisions = new Map<string, number>()
  const everything = { streams: undefined, categories: undefined, types: undefined, limit: undefined }
  const pages = target.readAllForUser({
    ...everything,
    direction: 'backwards',
    after: undefined,
    to: undefined,
  })
  try {
    for await (const page of pages) {
      for (const event of page) {
        const [stream, revision] = isTransformed ? placeOf(event) : ([event.stream, event.revision] as const)
        const first = firstRevisions.get(stream)
        if (first !== undefined && first > revision) continue
        const found = await source.eventAt(stream, revision)
        if (found && (isTransformed || found.id === event.id)) return found.position
        if (found)
          throw new ImportConflictError(stream, revision, 'the two stores have different events there')
        const begins = await source.firstRevision(stream)
        if (begins <= revision) throw new ImportConflictError(stream, revision, OF_ITS_OWN)
        firstRevisions.set(stream, begins)
      }
    }
  } finally {
    await pages.return?.()
  }
  return undefined
}

function placeOf(event: StoredEvent): readonly [stream: string, revision: number] {
  const origin = originOf(event.metadata)
  if (origin) return origin
  throw new ImportConflictError(
    event.stream,
    event.revision,
    'the store has an event there that was not copied with a transform',
  )
}

const OF_ITS_OWN = 'the store has an event there that the one it is copied from does not have'
