/**
 * Has a client's calls ask for answers that are not compressed. The server compresses every answer for which the driver's
 * library allows it, however small, and the driver unpacks each in another thread: that is a third of the time of an append
 * (docs/decisions/0102). The library sets the header itself, after everything that callers can set, so the copy of the
 * metadata that becomes the call's headers has to put it right.
 *
 * It uses an undocumented member of the client. If that has changed, answers are compressed as before: what each is is said
 * in its own headers.
 */
export function withUncompressedAnswers<T extends object>(client: T): T {
  const internals: Partial<Internals> = client
  const { callArguments } = internals
  if (typeof callArguments !== 'function') return client
  internals.callArguments = (...given) => {
    const [metadata, ...rest] = callArguments.apply(client, given)
    return [isMetadata(metadata) ? askForPlain(metadata) : metadata, ...rest]
  }
  return client
}

function askForPlain(metadata: Metadata): Metadata {
  const { clone, toHttp2Headers } = metadata
  metadata.clone = () => askForPlain(clone.call(metadata))
  metadata.toHttp2Headers = () => ({ ...toHttp2Headers.call(metadata), 'grpc-accept-encoding': 'identity' })
  return metadata
}

function isMetadata(value: unknown): value is Metadata {
  const { clone, toHttp2Headers } = (value ?? {}) as Partial<Metadata>
  return typeof clone === 'function' && typeof toHttp2Headers === 'function'
}

interface Internals {
  callArguments: (...given: unknown[]) => readonly unknown[]
}

/** The library's headers of a call. It copies them on their way, and turns the last copy into those of HTTP. */
interface Metadata {
  clone: () => Metadata
  toHttp2Headers: () => Record<string, unknown>
}
