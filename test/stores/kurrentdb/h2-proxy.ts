import { once } from 'node:events'
import {
  connect,
  createServer,
  type ClientHttp2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { onTestFinished } from 'vitest'

/** What a proxy has seen of a call. */
export interface SeenCall {
  readonly path: string
  readonly accepts: string | undefined
  readonly answersIn: string | undefined
}

/** A proxy that reads the headers of calls, and may compress the answers that the server does not compress. */
export async function startH2Proxy(
  target: string,
  options: { readonly compresses?: boolean } = {},
): Promise<{ readonly through: string; readonly calls: readonly SeenCall[] }> {
  const calls: SeenCall[] = []
  const sessions = new Set<{ destroy(): void }>()
  const listener = createServer()
  listener.on('session', (session) => {
    sessions.add(session)
    session.on('error', () => undefined)
  })
  const onwards = connect(`http://${new URL(target).host}`)
  onwards.on('error', () => undefined)
  sessions.add(onwards)
  listener.on('stream', (stream, headers) => {
    const compresses = options.compresses === true && headers['grpc-accept-encoding'] !== undefined
    forward(onwards, stream, headers, compresses, (answersIn) =>
      calls.push({
        path: String(headers[':path']).split('/').at(-1)!,
        accepts: headers['grpc-accept-encoding'] as string | undefined,
        answersIn,
      }),
    )
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  onTestFinished(() => {
    for (const session of sessions) session.destroy()
    listener.close()
  })
  const through = new URL(target)
  through.port = String((listener.address() as AddressInfo).port)
  return { through: through.href, calls }
}

function forward(
  session: ClientHttp2Session,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  compresses: boolean,
  seen: (answersIn: string | undefined) => void,
): void {
  const call = session.request({ ...headers, ':authority': undefined })
  stream.pipe(call)
  stream.on('error', () => call.close())
  stream.on('close', () => call.close())
  call.on('error', () => stream.destroy())
  let isPacking = false
  call.on('response', (answer) => {
    seen(answer['grpc-encoding'] as string | undefined)
    const isOver = answer['grpc-status'] !== undefined
    isPacking = compresses && !isOver && answer['grpc-encoding'] !== 'gzip'
    const encoding = isPacking ? { 'grpc-encoding': 'gzip' } : {}
    if (stream.destroyed) return
    stream.respond({ ...answer, ...encoding }, { waitForTrailers: !isOver, endStream: isOver })
  })
  let trailers: IncomingHttpHeaders = {}
  call.on('trailers', (given: IncomingHttpHeaders) => {
    trailers = given
  })
  stream.on('wantTrailers', () => stream.sendTrailers(trailers))
  let rest = Buffer.alloc(0)
  call.on('data', (chunk: Buffer) => {
    if (!isPacking) {
      stream.write(chunk)
      return
    }
    rest = Buffer.concat([rest, chunk])
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      const end = 5 + rest.readUInt32BE(1)
      const packed = gzipSync(rest.subarray(5, end))
      const head = Buffer.alloc(5)
      head[0] = 1
      head.writeUInt32BE(packed.length, 1)
      stream.write(Buffer.concat([head, packed]))
      rest = rest.subarray(end)
    }
  })
  call.on('end', () => {
    if (!stream.writableEnded) stream.end()
  })
}
