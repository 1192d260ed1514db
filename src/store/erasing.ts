import { checkOptions, checkSignal, checkWhole } from '../base/arguments.ts'
import { environment } from '../base/environment.ts'
import {
  ConflictError,
  InvalidArgumentError,
  quote,
  StreamDeletedError,
  StreamTruncatedError,
} from '../base/errors.ts'
import type { Revision } from '../base/revision.ts'
import { nextRevision } from '../adapter/append-rules.ts'
import type { EventsErased, EraseRequest, NewEvent } from '../adapter/store-adapter.ts'
import { ERASURES_STREAM, erasures, tellsOfErasures } from '../model/erasures.ts'
import { checkMetadata } from '../model/metadata.ts'
import type { AnyStream } from '../model/stream.ts'
import { checkExpected, lacking, ofErasures, streamName } from './arguments.ts'
import type { DeleteOptions, Erasure, TruncateOptions } from './event-store.ts'
import type { StoreCore } from './lifecycle.ts'

/** Erases the first events of a stream, as `store.truncate` does. */
export async function truncateStream(
  core: StoreCore,
  given: string | AnyStream,
  options: TruncateOptions,
): Promise<Erasure> {
  const stream = streamName(given, 'stream')
  checkOptions(options, 'options', ['before', 'expected', 'metadata', 'signal'])
  const before = checkWhole(options.before, 'before', 0)
  const { type, data } = erasures.StreamTruncated({ stream, before })
  return erase(core, { stream, before, expected: options.expected ?? 'any', type, data }, options)
}

/** Deletes a stream for good, as `store.delete` does. */
export async function deleteStream(
  core: StoreCore,
  given: string | AnyStream,
  options: DeleteOptions,
): Promise<Erasure> {
  const stream = streamName(given, 'stream')
  checkOptions(options, 'options', ['expected', 'metadata', 'signal'])
  const { type, data } = erasures.StreamDeleted({ stream })
  return erase(
    core,
    { stream, before: undefined, expected: options.expected ?? 'exists', type, data },
    options,
  )
}

async function erase(
  core: StoreCore,
  { type, data, ...what }: Omit<EraseRequest, 'notice'> & { readonly type: string; readonly data: object },
  options: DeleteOptions,
): Promise<Erasure> {
  const { stream, before } = what
  checkExpected(what.expected, 'expected')
  const metadata = JSON.stringify(checkMetadata(options.metadata))
  const signal = checkSignal(options.signal)
  if (tellsOfErasures(stream)) throw ofErasures()
  const { capabilities } = core
  if (!capabilities.truncation) throw lacking('this store does not truncate or delete streams', capabilities)
  const notice: NewEvent = {
    ...{ stream: ERASURES_STREAM, id: environment.uuid(), type, version: 1 },
    ...{ data: JSON.stringify(data), metadata },
  }
  core.enter()
  try {
    signal?.throwIfAborted()
    const verdict = await core.erase({ ...what, notice }, signal)
    switch (verdict.kind) {
      case 'done':
        return { position: verdict.position }
      case 'unchanged':
        return { position: undefined }
      case 'beyond':
        throw beyond(stream, before!, verdict.head)
      case 'conflict':
        throw new ConflictError(verdict)
      case 'erased':
        throw erasedError(verdict)
    }
  } finally {
    core.leave()
  }
}

/** The error of an append that names a deleted stream, or repeats an append of which events were erased. */
export function erasedError({
  stream,
  firstRevision,
}: EventsErased): StreamDeletedError | StreamTruncatedError {
  return firstRevision === undefined
    ? new StreamDeletedError(stream)
    : new StreamTruncatedError(stream, firstRevision)
}

function beyond(stream: string, before: number, head: Revision): InvalidArgumentError {
  const end = head === 'none' ? 'has no events' : `ends at revision ${String(head)}`
  return new InvalidArgumentError('before', {
    message: `cannot truncate stream ${quote(stream)} before revision ${String(before)}: it ${end}; give at most ${String(nextRevision(head))}`,
  })
}
