import { load, tryExecute } from 'mneme'
import { httpAnswers } from 'mneme/http'
import { memoryStore } from 'mneme/memory'
import { Order, place, PlaceBody } from '../../http/shop.ts'

// A service on Bun or Deno: PUT and GET /orders/1, GET /events; GET /open counts the streams of events;
// GET /end ends it. It prints its port.

const store = memoryStore()
const http = httpAnswers({ maxBodyBytes: 10_000 })
let open = 0

async function answer(request: Request): Promise<Response> {
  const [, first, order = ''] = new URL(request.url).pathname.split('/')
  if (first === 'open') return new Response(String(open))
  if (first === 'end') process.exit()
  if (first === 'events') {
    return http.events(request, {
      subscribe: (resume) => {
        const subscription = store.subscribe({ ...resume })
        const end = subscription.return!.bind(subscription)
        let isOpen = ++open > 0
        subscription.return = () => {
          if (isOpen) open--
          isOpen = false
          return end()
        }
        return subscription
      },
      message: ({ type, data }) => ({ event: type, data }),
      heartbeat: 50,
    })
  }
  if (request.method === 'GET') {
    return http.state(request, {
      load: () => load(store, Order(order)),
      answer: (state) => ({ body: state }),
    })
  }
  return http.command(request, {
    principal: null,
    body: PlaceBody,
    resource: Order(order),
    execute: (options, { body }) => tryExecute(store, place({ order, ...body }), options),
    rejections: { 'exists-already': 409 },
    answer: ({ state }) => ({ status: 201, body: state }),
  })
}

interface Runtimes {
  readonly Bun?: { serve(options: object): { readonly port: number } }
  readonly Deno?: {
    serve(options: object, handler: typeof answer): { readonly addr: { readonly port: number } }
  }
}
const { Bun, Deno } = globalThis as Runtimes
const port = Bun
  ? Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: answer }).port
  : Deno?.serve({ port: 0, hostname: '127.0.0.1', onListen: () => undefined }, answer).addr.port
console.log(`port ${String(port)}`)
