import { execute, type EventStore, type Executed, ofType, tryExecute } from 'mneme'
import { type HttpAnswers, type Problem } from 'mneme/http'
import { memoryStore } from 'mneme/memory'
import { expectTypeOf } from 'vitest'
import * as z from 'zod'
import { cancel, change, Order, place } from '../http/shop.ts'

declare const http: HttpAnswers
declare const store: EventStore
declare const request: Request

// The body's type comes from its schema, the result's from the command, each rejection's from its reason.
void http.command(request, {
  principal: 'ann',
  body: z.object({ quantity: z.string().transform(Number) }),
  resource: ({ id, body }) => Order(`${id}-${body.quantity.toFixed()}`),
  execute: (options, { body, id }) => {
    expectTypeOf(body).toEqualTypeOf<{ quantity: number }>()
    return tryExecute(store, change({ order: id, ...body }), options)
  },
  rejections: {
    'unknown-order': 404,
    cancelled: (rejection) => {
      expectTypeOf(rejection.quantity).toEqualTypeOf<number>()
      return { status: 409, quantity: rejection.quantity }
    },
  },
  answer: ({ state, events }, { body }) => {
    expectTypeOf(state).toEqualTypeOf<Readonly<ReturnType<typeof Order.initial>>>()
    expectTypeOf(events[0]!.data).toEqualTypeOf<{ quantity: number }>()
    return { body: { quantity: state.quantity + body.quantity } }
  },
})

// Without a body there is none; what execute throws needs no answer.
void http.command(request, {
  principal: null,
  execute: (options, { body }) => {
    expectTypeOf(body).toEqualTypeOf<undefined>()
    return execute(store, cancel('1'), options)
  },
  rejections: {},
  answer: (result) => {
    expectTypeOf(result).toExtend<Executed<unknown, unknown>>()
    return {}
  },
})

void http.command(request, {
  principal: null,
  execute: (options) => tryExecute(store, change({ order: '1', quantity: 1 }), options),
  // @ts-expect-error -- a reason is left out
  rejections: { 'unknown-order': 404 },
})

void http.command(request, {
  principal: null,
  execute: (options) => tryExecute(store, cancel('1'), options),
  // @ts-expect-error -- a reason that the command does not have
  rejections: { 'not-open': 409, 'not-opened': 409 },
})

// @ts-expect-error -- who sends it has to be said, because a key counts within a principal
void http.command(request, {
  execute: (options) => tryExecute(store, cancel('1'), options),
  rejections: { 'not-open': 409 },
})

void http.command(request, {
  principal: null,
  body: ofType<{ article: string; quantity: number }>(),
  // @ts-expect-error -- the result of a command is what is answered
  execute: (_options, { body }) => Promise.resolve(place({ order: '1', ...body })),
  rejections: {},
})

void http.state(request, {
  load: () => Promise.resolve({ state: { a: 1 }, revision: 3 }),
  answer: (state, revision) => {
    expectTypeOf(state).toEqualTypeOf<{ a: number }>()
    expectTypeOf(revision).toEqualTypeOf<number>()
    return { body: state }
  },
})

void http.events(request, {
  subscribe: (resume) => memoryStore().subscribe({ from: 'end', ...resume }),
  message: (event) => ({ data: event.data }),
})

expectTypeOf(http.problem(new Error(), request)).toEqualTypeOf<Response>()
declare const problem: Problem
expectTypeOf(problem.status).toEqualTypeOf<number>()
