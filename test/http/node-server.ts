import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { onTestFinished } from 'vitest'

/** Serves a handler of fetch's kind by node:http, on a port of its own; it ends with the test. @returns its URL. */
export async function serve(handler: (request: Request) => Promise<Response>): Promise<string> {
  const server = createServer((incoming, outgoing) => {
    const { method = 'GET', headers, url = '/' } = incoming
    const gone = new AbortController()
    outgoing.on('close', () => gone.abort())
    const body = method === 'GET' || method === 'HEAD' ? null : Readable.toWeb(incoming)
    const request = new Request(new URL(url, `http://${headers.host ?? ''}`), {
      ...{ method, headers: headers as Record<string, string>, signal: gone.signal },
      ...{ body: body as ReadableStream<Uint8Array> | null, duplex: 'half' },
    })
    handler(request)
      .then((response) => {
        outgoing.writeHead(response.status, Object.fromEntries(response.headers))
        outgoing.flushHeaders()
        return pipeline(response.body ? Readable.fromWeb(response.body as never) : [], outgoing)
      })
      .catch(() => outgoing.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
