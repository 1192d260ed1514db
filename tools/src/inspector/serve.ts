import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import type { Inspector } from './inspector.ts'

/** A server of an inspector, on this machine only. */
export interface InspectorServer {
  /** The link that opens the page, with the token. */
  readonly link: string
  close(): Promise<void>
}

/**
 * Serves an inspector on the loopback address.
 *
 * @param port 0 for any free one.
 */
export async function serveInspector(inspector: Inspector, port = 0): Promise<InspectorServer> {
  const server = createServer((incoming, outgoing) => {
    // The client has gone, or what it sent is no request: a host with a blank, for example.
    answer(incoming, outgoing, inspector.fetch).catch(() => outgoing.destroy())
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  const { port: taken } = server.address() as AddressInfo
  const token = inspector.token === undefined ? '' : `#token=${inspector.token}`
  return {
    link: `http://127.0.0.1:${String(taken)}/${token}`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      await inspector.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function answer(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  fetch: Inspector['fetch'],
): Promise<void> {
  const { method = 'GET', headers, url = '/' } = incoming
  const gone = new AbortController()
  outgoing.once('close', () => gone.abort())
  const given = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)])
  const body = method === 'GET' || method === 'HEAD' ? null : (Readable.toWeb(incoming) as ReadableStream)
  const init = { method, headers: given, body, duplex: 'half' as const, signal: gone.signal }
  // Not resolved against the host: a path like `//localhost/` would name another one than the client did.
  const response = await fetch(new Request(`http://${String(headers.host)}${url}`, init))
  outgoing.setHeaders(response.headers).writeHead(response.status)
  await pipeline(response.body ?? [], outgoing)
}
