import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import type { Route } from './service.ts'

/** The routes as an application of Hono: it has `Request` and `Response` already. */
export function honoApp(routes: readonly Route[]): Hono {
  const app = new Hono()
  for (const { method, path, answer } of routes) {
    app.on(method, path, (c) => answer(c.req.raw, c.req.param('id') ?? ''))
  }
  return app
}

/** Serves them on a port; 0 for any. */
export function serveHono(routes: readonly Route[], port: number) {
  return new Promise<{ port: number; close: () => Promise<void> }>((resolve) => {
    const server = serve({ fetch: honoApp(routes).fetch, port }, (info) => {
      const close = () => new Promise<void>((closed) => server.close(() => closed()))
      resolve({ port: info.port, close })
    })
  })
}
