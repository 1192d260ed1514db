import { InvalidArgumentError } from '../base/errors.ts'
import { keysOf } from '../base/standard-schema.ts'
import type { DataIssue, SchemaIssue, StandardSchemaV1 } from '../index.ts'
import { HttpError } from './http-error.ts'

/**
 * The body of a request: JSON, checked by a schema. It is refused before it is read if its length is above the limit, and
 * while it is read if it states none.
 *
 * @throws HttpError: 413 above the limit; 415 if it is not JSON in UTF-8; 400 if it cannot be read or parsed, or the schema
 *   refuses it, with `issues`; 499 if the client has gone before its end.
 */
export async function readJson<Given, Body>(
  request: Request,
  schema: StandardSchemaV1<Given, Body>,
  maxBytes: number,
): Promise<Body> {
  if (request.bodyUsed) {
    throw new InvalidArgumentError('request', {
      message: 'the body of the request was read before; hand the request over unread',
    })
  }
  const length = request.headers.get('Content-Length')
  if (length !== null && Number(length) > maxBytes) throw tooLarge(maxBytes)
  checkMediaType(request.headers)
  const value = parse(await read(request, maxBytes))
  const result = await schema['~standard'].validate(value)
  if (!result.issues) return result.value
  const issues = result.issues.map(toIssue)
  throw new HttpError(400, { code: 'INVALID_DATA', detail: 'the body was refused; see issues', issues })
}

function checkMediaType(headers: Headers): void {
  const [type = '', ...parameters] = (headers.get('Content-Type') ?? '').toLowerCase().split(';')
  const charset = parameters.map((one) => one.trim()).find((one) => one.startsWith('charset='))
  const isUtf8 = charset === undefined || /^charset="?utf-?8"?$/.test(charset)
  if (!/^\s*application\/(?:[\w.!#$&^-]+\+)?json\s*$/.test(type) || !isUtf8) {
    const detail = 'the body is not declared as JSON in UTF-8; send it with Content-Type: application/json'
    throw new HttpError(415, { code: 'UNSUPPORTED_MEDIA_TYPE', detail }, { Accept: 'application/json' })
  }
  const encoding = headers.get('Content-Encoding')
  if (encoding !== null && encoding.trim().toLowerCase() !== 'identity') {
    const detail = 'the body is encoded; send it without Content-Encoding'
    throw new HttpError(415, { code: 'UNSUPPORTED_MEDIA_TYPE', detail }, { 'Accept-Encoding': 'identity' })
  }
}

async function read({ body, signal }: Request, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  const stream: ReadableStream<Uint8Array> | null = body
  const reader = stream?.getReader()
  const refuse = (error: unknown): never => {
    throw error instanceof HttpError ? error : incomplete(error, signal)
  }
  for (;;) {
    const { done, value } = (await reader?.read().catch(refuse)) ?? { done: true, value: undefined }
    if (done) break
    size += value.byteLength
    if (size > maxBytes) {
      // Not cancelled: in Node that destroys the connection before the answer is sent.
      reader?.releaseLock()
      throw tooLarge(maxBytes)
    }
    chunks.push(value)
  }
  const bytes = new Uint8Array(size)
  let offset = 0
  for (const chunk of chunks) {
    bytes.set(chunk, offset)
    offset += chunk.byteLength
  }
  return bytes
}

function parse(bytes: Uint8Array): unknown {
  if (bytes.byteLength === 0) throw invalid('the body is empty; send JSON')
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw invalid('the body is not UTF-8')
  }
  try {
    return JSON.parse(text)
  } catch {
    throw invalid('the body is not valid JSON')
  }
}

/** The error of a body that ends before its end. The server may tell of its client's end only after the body's. */
function incomplete(error: unknown, signal: AbortSignal): HttpError {
  const { name, code } = Object(error) as { readonly name?: unknown; readonly code?: unknown }
  const isGone = signal.aborted || name === 'AbortError' || CONNECTION_LOST.has(code)
  const detail = 'the body could not be read to its end'
  return new HttpError(isGone ? 499 : 400, { code: 'BODY_INCOMPLETE', detail })
}

/** Codes of Node's errors of a request whose connection is lost. */
const CONNECTION_LOST: ReadonlySet<unknown> = new Set([
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ERR_STREAM_PREMATURE_CLOSE',
])

function invalid(detail: string): HttpError {
  return new HttpError(400, { code: 'INVALID_JSON', detail })
}

/** The rest of the body stays unread, so the connection serves no further request. */
function tooLarge(maxBytes: number): HttpError {
  const detail = `the body is larger than ${String(maxBytes)} bytes`
  return new HttpError(413, { code: 'BODY_TOO_LARGE', detail }, { Connection: 'close' })
}

function toIssue(issue: SchemaIssue): DataIssue {
  const steps = keysOf(issue).map((key) => (typeof key === 'number' ? `[${String(key)}]` : `.${String(key)}`))
  return { path: `body${steps.join('')}`, message: issue.message }
}
