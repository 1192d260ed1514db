import { checkOptions, checkTimer, checkWhole } from '../base/arguments.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import type { AnyStream, ExpectedRevision, Revision, StandardSchemaV1 } from '../index.ts'
import { isMnemeError } from '../index.ts'
import { readJson } from './body.ts'
import { checkRepresentation, etagOf } from './etag.ts'
import { type EventRoute, eventStream } from './event-stream.ts'
import { HttpError, type ProblemMembers } from './http-error.ts'
import { identityOf } from './idempotency-key.ts'
import { Preconditions } from './preconditions.ts'
import { answerOf, problemOf, type ProblemOptions, problemResponse, rejected } from './problem.ts'

/** Options of all answers of a service. */
export interface HttpOptions {
  /**
   * Before the kinds of problems: `type` is then this URI and the reason or code, like `https://shop.example/problems/not-open`.
   * A `/` comes between the two unless the URI ends in one, or in `#`, `:` or `=`. Default: none, and `about:blank`.
   */
  readonly typeBase?: string | undefined
  /** Seconds in `Retry-After`. Default: 1. */
  readonly retryAfter?: number | undefined
  /** The longest body in bytes. Default: 1,048,576. */
  readonly maxBodyBytes?: number | undefined
  /** A name for the shape of the answers, part of each ETag: change it with the shape, or clients keep the old one. */
  readonly representation?: string | undefined
  /** Called for each error that is answered with a status from 500, and that ends a stream of events. */
  readonly onError?: ((error: unknown, request: Request) => void) | undefined
}

/**
 * Options for `execute` and `tryExecute` that follow from a request. `expected` and `key` are getters: a route whose `execute`
 * never reads them is answered with 500, because the request's precondition or key would have no effect.
 */
export interface RequestOptions {
  /** The revision that `If-Match` or `If-None-Match` asks for. */
  readonly expected?: Readonly<Record<string, Exclude<ExpectedRevision, 'any'>>>
  /** A hash of principal, method, path and `Idempotency-Key`. */
  readonly key?: string
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal
}

/** A request, as the callbacks of a command see it. */
export interface CommandRequest<Body> {
  /** The body, checked by the route's schema. */
  readonly body: Body
  /**
   * A UUID for what the request creates. A request that is sent again with its `Idempotency-Key` gets the same one, so
   * that it creates the same thing. It is no secret: it can be computed from principal, method, path and key.
   */
  readonly id: string
  readonly request: Request
}

/** A successful answer. */
export interface Answer {
  /** Default: 200, or 204 without a body. */
  readonly status?: number | undefined
  /** JSON. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** What `execute` or `tryExecute` resolves with, as far as it matters here. */
export type HttpOutcome =
  | {
      readonly ok: true
      readonly revisions: ReadonlyMap<string, Revision>
      /** Whether it is the result of an earlier append with the same key. */
      readonly repeated?: boolean
    }
  | {
      readonly ok: false
      readonly rejection: { readonly reason: string }
      readonly revisions?: ReadonlyMap<string, Revision> | undefined
    }

/** The rejections in an outcome. */
export type RejectionIn<O> = O extends { readonly ok: false; readonly rejection: infer R } ? R : never

/** How each reason of a rejection is answered. */
export type RejectionAnswers<R> = {
  readonly [Reason in ReasonIn<R>]: RejectionAnswer<Extract<R, { readonly reason: Reason }>>
}
type ReasonIn<R> = R extends { readonly reason: infer Reason extends string } ? Reason : never

/** The answer to a rejection: a status, a problem document, or a function that makes one of them. */
export type RejectionAnswer<R> = number | RejectionProblem | ((rejection: R) => number | RejectionProblem)

/** A problem document for a rejection. `rejection: undefined` keeps its details from the client. */
export interface RejectionProblem extends ProblemMembers {
  readonly status: number
}

/** A route that executes a command. */
export interface CommandRoute<Body, O extends HttpOutcome, Given = Body> {
  /** A schema of the body: JSON. Without it, the body is not read. `ofType<T>()` only types it. */
  readonly body?: StandardSchemaV1<Given, Body> | undefined
  /** Who sends the request, authenticated: an `Idempotency-Key` counts within a principal. `null`: all are one. */
  readonly principal: string | null
  /** The stream whose revision is the ETag, and which the preconditions are about. The command reads it. */
  readonly resource?: AnyStream | ((request: CommandRequest<NoInfer<Body>>) => AnyStream) | undefined
  /** Whether a request without `If-Match` and `If-None-Match` is refused, with 428. Default: false. */
  readonly requirePrecondition?: boolean | undefined
  /** Whether a request without `Idempotency-Key` is refused, with 400. Default: false. */
  readonly requireKey?: boolean | undefined
  /** Executes the command with the options: `(options) => tryExecute(store, cancel({ order }), options)`. */
  readonly execute: (options: RequestOptions, request: CommandRequest<NoInfer<Body>>) => Promise<O>
  /** The answer to each rejection of the command; `{}` if it has none. A reason left out does not compile. */
  readonly rejections: RejectionAnswers<RejectionIn<O>>
  /** The answer to an accepted command. Default: 204. */
  readonly answer?: ((result: Accepted<O>, request: CommandRequest<NoInfer<Body>>) => Answer) | undefined
  /** The longest body in bytes. Default: that of the service. */
  readonly maxBodyBytes?: number | undefined
}

type Accepted<O> = Extract<O, { readonly ok: true }>

/** A route that answers with a state. */
export interface StateRoute<State> {
  /** Loads it: `() => load(store, Order(id))`. A revision `'none'` is answered with 404. */
  readonly load: () => Promise<{ readonly state: State; readonly revision: Revision }>
  /** The answer. Name the fields: not everything in a state is for the client. */
  readonly answer: (state: State, revision: number) => Answer
}

/** Answers requests: from `Request` to `Response`, for any framework. No method throws or rejects. */
export interface HttpAnswers {
  /**
   * Executes a command: checks preconditions and key, reads the body, and answers with the ETag after it. A request that
   * is sent again with its `Idempotency-Key` gets the first answer again.
   */
  command<O extends HttpOutcome, Body = undefined, Given = Body>(
    request: Request,
    route: CommandRoute<Body, O, Given>,
  ): Promise<Response>
  /** Answers with a state and its ETag; 304 if the client has it; 404 if there is none. */
  state<State>(request: Request, route: StateRoute<State>): Promise<Response>
  /**
   * Answers with the events of a subscription, as server-sent events. The `id` of each is a checkpoint, at which
   * `Last-Event-ID` resumes; one of another store or of a history that is gone is answered with 410.
   */
  events(request: Request, route: EventRoute): Promise<Response>
  /** The answer to an error: for the error handler of a framework. */
  problem(error: unknown, request: Request): Response
}

/**
 * The answers of a service, from `Request` to `Response`. Rejections and errors become problem documents (RFC 9457).
 *
 * @throws InvalidArgumentError
 * @example
 * ```ts
 * const http = httpAnswers({ onError: (error) => console.error(error) })
 * const post = (request: Request, account: string) =>
 *   http.command(request, {
 *     principal: request.headers.get('X-User'),
 *     body: ofType<{ amount: number }>(), // or a schema that checks it
 *     resource: BankAccount(account),
 *     execute: (options, { body }) => tryExecute(store, withdraw({ account, ...body }), options),
 *     rejections: { 'not-open': 404, 'insufficient-funds': 422 },
 *     answer: ({ state }) => ({ body: { balance: state.balance } }),
 *   })
 * ```
 */
export function httpAnswers(options: HttpOptions = {}): HttpAnswers {
  return new Answers(options)
}

class Answers implements HttpAnswers {
  readonly #options: HttpOptions
  readonly #representation: string
  readonly #maxBodyBytes: number
  readonly #problems: ProblemOptions

  constructor(options: HttpOptions) {
    checkOptions(options, 'options', ['typeBase', 'retryAfter', 'maxBodyBytes', 'representation', 'onError'])
    const { typeBase, retryAfter = 1, maxBodyBytes = DEFAULT_BODY_BYTES, representation = '' } = options
    this.#options = options
    this.#representation = checkRepresentation(representation)
    this.#maxBodyBytes = checkWhole(maxBodyBytes, 'maxBodyBytes', 0)
    this.#problems = {
      typeBase: typeBase?.replace(/[^/#:=]$/, '$&/'),
      retryAfter: checkWhole(retryAfter, 'retryAfter', 0),
    }
  }

  async command<O extends HttpOutcome, Body, Given>(
    request: Request,
    route: CommandRoute<Body, O, Given>,
  ): Promise<Response> {
    let isKeyed = false
    try {
      checkOptions(route, 'route', COMMAND_ROUTE)
      if (typeof (route.principal as unknown) !== 'string' && route.principal !== null) {
        throw new InvalidArgumentError('principal', 'who sends the request, as a string; or null')
      }
      const preconditions = new Preconditions(request.headers, this.#representation)
      if (route.requirePrecondition === true && preconditions.isEmpty) throw preconditionRequired()
      const { key, id } = await identityOf(request, route.principal)
      isKeyed = key !== undefined
      if (route.requireKey === true && !isKeyed) throw keyRequired()
      const { maxBodyBytes = this.#maxBodyBytes } = route
      const body = route.body && (await readJson(request, route.body, maxBodyBytes))
      const context = { body: body as Body, id, request }
      const resource = typeof route.resource === 'function' ? route.resource(context) : route.resource
      const outcome = await executeUnder(preconditions, resource?.stream, async (expected) => {
        const unread = new Set<OptionRead>()
        const executed = await route.execute(optionsOf({ expected, key }, request.signal, unread), context)
        // A rejection without revisions is the route's own, before a command.
        if (executed.ok || executed.revisions) checkAllRead(unread)
        return executed
      })
      if (resource) checkRevisions(outcome, resource.stream)
      const etag = resource && this.#etag(outcome.revisions?.get(resource.stream))
      if (!outcome.ok) return this.#rejected(outcome.rejection, route.rejections, etag)
      return answered(route.answer?.(outcome as Accepted<O>, context) ?? {}, etag, request)
    } catch (error) {
      return this.#failed(error, request, isKeyed)
    }
  }

  async state<State>(request: Request, route: StateRoute<State>): Promise<Response> {
    try {
      checkOptions(route, 'route', ['load', 'answer'])
      const preconditions = new Preconditions(request.headers, this.#representation)
      const { state, revision } = await route.load()
      if (!preconditions.matches(revision)) throw preconditions.failed(revision)
      if (revision === 'none')
        throw new HttpError(404, { code: 'NOT_FOUND', detail: 'there is no such resource' })
      const etag = this.#etag(revision)
      const answer = route.answer(state, revision)
      const headers = { 'Cache-Control': 'private, no-cache', ...answer.headers }
      if (!preconditions.differs(revision))
        return new Response(null, { status: 304, headers: { ...headers, ...etag } })
      return answered({ ...answer, headers }, etag, request)
    } catch (error) {
      return this.#failed(error, request)
    }
  }

  async events(request: Request, route: EventRoute): Promise<Response> {
    try {
      checkOptions(route, 'route', ['subscribe', 'message', 'heartbeat', 'endAfter', 'headers'])
      for (const name of ['heartbeat', 'endAfter'] as const) {
        if (route[name] !== undefined) checkTimer(route[name], name, 1)
      }
      return await eventStream(request, route, (error) => {
        this.#tell(error, request)
      })
    } catch (error) {
      return this.#failed(isLost(error) ? historyGone(error) : error, request)
    }
  }

  problem(error: unknown, request: Request): Response {
    return this.#failed(error, request)
  }

  #failed(error: unknown, request: Request, isKeyed = false): Response {
    // Nobody reads the answer; the status is for the log.
    const told = isOfAbort(error, request.signal) ? new HttpError(499) : error
    const answer = problemOf(told, { ...this.#problems, isKeyed })
    if (answer.problem.status >= 500) this.#tell(error, request)
    return problemResponse(answer)
  }

  /** An `onError` that throws keeps nobody from an answer. */
  #tell(error: unknown, request: Request): void {
    try {
      this.#options.onError?.(error, request)
    } catch (thrown) {
      process.emitWarning(`onError threw ${String(thrown)}`, { code: 'MNEME_HTTP_ON_ERROR' })
    }
  }

  #rejected(rejection: { readonly reason: string }, answers: unknown, etag: Headed): Response {
    const { reason } = rejection
    const map = answers as Readonly<Record<string, RejectionAnswer<unknown>>> | undefined
    const entry = map !== undefined && Object.hasOwn(map, reason) ? map[reason] : undefined
    const chosen = (typeof entry === 'function' ? entry(rejection) : entry) ?? 422
    const { status, ...problem } = typeof chosen === 'number' ? { status: chosen } : chosen
    const given = { code: 'REJECTED', ...rejected(status, rejection), ...problem }
    return problemResponse(answerOf(status, given, etag ?? {}, this.#problems))
  }

  #etag(revision: Revision | undefined): Headed {
    const etag = revision === undefined ? undefined : etagOf(revision, this.#representation)
    return etag === undefined ? undefined : { ETag: etag }
  }
}

type Headed = Readonly<Record<string, string>> | undefined

const DEFAULT_BODY_BYTES = 1024 * 1024
const COMMAND_ROUTE = [
  'body',
  'principal',
  'resource',
  'requirePrecondition',
  'requireKey',
  'execute',
  'answer',
  'rejections',
  'maxBodyBytes',
] as const

/** Executes under the preconditions; if a list of tags is among them, until the actual revision is known. */
async function executeUnder<O>(
  preconditions: Preconditions,
  stream: string | undefined,
  execute: (expected: RequestOptions['expected']) => Promise<O>,
): Promise<O> {
  if (preconditions.isEmpty) return execute(undefined)
  if (stream === undefined) throw noResource()
  for (let expected = preconditions.expectation(), attempt = 1; ; attempt++) {
    try {
      return await execute(expected === undefined ? undefined : { [stream]: expected })
    } catch (error) {
      const isOurs =
        isMnemeError(error) && error.code === 'CONFLICT' && error.isPrecondition && error.stream === stream
      if (!isOurs) throw error
      expected = preconditions.expectation(error.actual) // a 412, if it does not hold at that revision
      if (attempt === MAX_ATTEMPTS) throw changesTooFast()
    }
  }
}

const MAX_ATTEMPTS = 10

type OptionRead = 'expected' | 'key'

/** The options for `execute`; each one that has a value is in `unread` until it is read. */
function optionsOf(
  values: { readonly [name in OptionRead]: RequestOptions[name] | undefined },
  signal: AbortSignal,
  unread: Set<OptionRead>,
): RequestOptions {
  const options: RequestOptions = { signal }
  for (const name of ['expected', 'key'] as const) {
    const value = values[name]
    if (value === undefined) continue
    unread.add(name)
    Object.defineProperty(options, name, {
      enumerable: true,
      get: () => {
        unread.delete(name)
        return value
      },
    })
  }
  return options
}

/** @throws InvalidArgumentError if the command was executed without an option that the request asked for. */
function checkAllRead(unread: ReadonlySet<OptionRead>): void {
  const [name] = unread
  if (name === undefined) return
  const header = name === 'key' ? 'Idempotency-Key' : 'If-Match or If-None-Match'
  const message =
    `route.execute did not read options.${name}, so ${header} of the request had no effect; ` +
    `pass the options on: execute: (options) => tryExecute(store, command, options)`
  throw new InvalidArgumentError('route.execute', { message })
}

/** @throws InvalidArgumentError if the command does not read the resource, so that there is no ETag. */
function checkRevisions(outcome: HttpOutcome, stream: string): void {
  const { revisions } = outcome
  // A repeated result has the streams of the first call, whose resource may have had another name.
  if (!revisions || revisions.has(stream) || (outcome.ok && outcome.repeated)) return
  const read = [...revisions.keys()].slice(0, 10).map((name) => JSON.stringify(name))
  const message =
    `route.resource is the stream ${JSON.stringify(stream)}, which the command does not read; ` +
    `it reads ${read.join(', ') || 'none'}; name one of these, or leave resource out`
  throw new InvalidArgumentError('route.resource', { message })
}

function answered({ status, body, headers }: Answer, etag: Headed, request: Request): Response {
  const isEmpty = body === undefined
  const type = isEmpty ? {} : { 'Content-Type': 'application/json' }
  const text = isEmpty || request.method === 'HEAD' ? null : JSON.stringify(body)
  return new Response(text, {
    status: status ?? (isEmpty ? 204 : 200),
    headers: { ...type, ...headers, ...etag },
  })
}

/** Whether an error says no more than that the client has gone. */
function isOfAbort(error: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false
  for (
    let cause = error;
    cause !== undefined;
    cause = (Object(cause) as { readonly cause?: unknown }).cause
  ) {
    if (cause === signal.reason || (cause instanceof Error && cause.name === 'AbortError')) return true
  }
  return false
}

/** Whether the place at which a client resumes is not in this store's history. */
function isLost(error: unknown): error is Error {
  if (!isMnemeError(error)) return false
  return (
    error.code === 'CHECKPOINT_FROM_ANOTHER_STORE' ||
    error.code === 'HISTORY_REWOUND' ||
    (error.code === 'INVALID_ARGUMENT' && error.argument === 'from')
  )
}

function historyGone(error: Error & { readonly code?: string }): HttpError {
  const detail =
    'the history in which this client was is gone; connect without Last-Event-ID, and read everything anew'
  return new HttpError(410, { code: error.code, detail })
}

function changesTooFast(): HttpError {
  const detail = 'the resource changes faster than its precondition can be checked; send the request again'
  return new HttpError(503, { code: 'CONFLICT', detail }, { 'Retry-After': '1' })
}

function noResource(): HttpError {
  const detail =
    'this resource has no ETag, so no precondition can hold; send it without If-Match and If-None-Match'
  return new HttpError(412, { code: 'PRECONDITION_FAILED', detail })
}

function preconditionRequired(): HttpError {
  const detail = 'read the resource, then send its ETag in If-Match; to create it, send If-None-Match: *'
  return new HttpError(428, { code: 'PRECONDITION_REQUIRED', detail })
}

function keyRequired(): HttpError {
  const detail = 'send an Idempotency-Key, new for each operation and the same for each repetition of it'
  return new HttpError(400, { code: 'KEY_REQUIRED', detail })
}
