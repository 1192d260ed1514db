import { Readable } from 'node:stream'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import type { Route } from './service.ts'

/** Serves the routes with Fastify on a port; 0 for any. */
export async function serveFastify(routes: readonly Route[], port: number) {
  const app = Fastify()
  // The body stays unread, so that mneme/http can refuse it before it is read.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, body, done) => done(null, body))
  for (const { method, path, answer } of routes) {
    app.route<{ Params: { id?: string } }>({
      method,
      url: path,
      handler: async (request, reply) =>
        reply.send(await answer(toRequest(request, reply), request.params.id ?? '')),
    })
  }
  await app.listen({ port })
  return { port: Number(new URL(app.listeningOrigin).port), close: () => app.close() }
}

/** The request as one of fetch's, whose signal is aborted when the client has gone. */
function toRequest({ method, url, host, headers, raw }: FastifyRequest, reply: FastifyReply): Request {
  const gone = new AbortController()
  reply.raw.once('close', () => gone.abort())
  const body =
    method === 'GET' || method === 'HEAD' ? null : (Readable.toWeb(raw) as ReadableStream<Uint8Array>)
  const given = Object.entries(headers).map(([name, value]) => [name, String(value)] as [string, string])
  const init = { method, headers: given, body, duplex: 'half' as const, signal: gone.signal }
  return new Request(new URL(url, `http://${host}`), init)
}
