import { randomBytes } from 'node:crypto'
import type { EventStore } from 'mneme'
import type { ProjectionTarget } from 'mneme/projections'

import { about } from './about.ts'
import { unblock } from './actions.ts'
import { answer, json, problem, problemOf } from './answers.ts'
import type { CallContext } from './call.ts'
import { eventDetail, logPage, streamPage, valueOf } from './events.ts'
import { follower, followers } from './followers.ts'
import { type Authorize, type Guard, LOOPBACK_HOSTS, refuseForeign, refuseStranger } from './guard.ts'
import { checkProgram, type Program, type ProgramOptions } from './program.ts'
import { States } from './states.ts'
import { categoriesPage, streamsPage } from './streams.ts'
import { throughput } from './throughput.ts'
import { stateShown, valueOfState } from './time-travel.ts'
import { tail } from './tail.ts'
import { trace } from './trace.ts'
import { tryCommand } from './trial.ts'
import { Turns } from './turns.ts'

/** What `createInspector` takes. */
export interface InspectorOptions extends ProgramOptions {
  /** The store to look at. The inspector does not close it. */
  readonly store: EventStore
  /** What the page calls the store. Default: `'store'`. */
  readonly name?: string | undefined
  /**
   * The databases that hold the read models of projections and the state of reactions, to show how far each is behind. The
   * inspector does not close them. Default: none.
   */
  readonly readModels?: ProjectionTarget<unknown> | readonly ProjectionTarget<unknown>[] | undefined
  /**
   * Whether the page may let projections, reactions and relays try again that are blocked. Each action is logged before, as an
   * event of the store, in the stream `MnemeTools-actions`. Default: `false`, it only reads.
   */
  readonly write?: boolean | undefined
  /**
   * The path under which the program serves the inspector, like `'/admin/history'`. The program hands over requests with their
   * whole path. Default: `'/'`.
   */
  readonly basePath?: string | undefined
  /**
   * Names of hosts under which the program is reached, with or without a port: requests for another name are refused. Default:
   * this machine's names for itself, `localhost`, `127.0.0.1` and `[::1]`.
   */
  readonly hosts?: readonly string[] | undefined
  /** Decides whether a request may see the inspector, instead of a token: the program's own guard. */
  readonly authorize?: Authorize | undefined
  /** The token that calls have to bring, of at least 32 characters. Default: a random one. */
  readonly token?: string | undefined
}

/** A web page that shows a store, as a function from `Request` to `Response`. Made by `createInspector`. */
export interface Inspector {
  /** Answers a request. It never rejects. */
  readonly fetch: (request: Request) => Promise<Response>
  /**
   * The token. The page takes it from its address, behind `#token=`, where no server and no log sees it. `undefined` if
   * `authorize` was given.
   */
  readonly token: string | undefined
  /** Ends the calls that are under way, and refuses later ones. */
  close(): Promise<void>
}

/**
 * Makes an inspector of a store: a page in the browser with its streams, events and states, to be mounted in a program's own
 * server. It only reads, unless `write` is given.
 *
 * A call needs the token, unless `authorize` is given. Requests of other origins and for other hosts are refused.
 *
 * @throws TypeError if an option is wrong.
 * @example
 * ```ts
 * const inspector = createInspector({ store, aggregates: [BankAccount], authorize: isAdmin, hosts: ['bank.example'] })
 * const response = await inspector.fetch(request)
 * ```
 */
export function createInspector(options: InspectorOptions): Inspector {
  return inspectorWith(options, async () => (await import('#page')).files)
}

/** The files of the page, by their names. */
export type PageFiles = Readonly<Record<string, { readonly type: string; readonly text: string }>>

/** An inspector whose page comes from elsewhere: for tests. */
export function inspectorWith(options: InspectorOptions, loadPage: () => Promise<PageFiles>): Inspector {
  const { store, name = 'store', write = false } = options
  if (typeof (write as unknown) !== 'boolean') throw new TypeError('write has to be true or false')
  const guard = guardOf(options)
  const base = basePathOf(options.basePath)
  const program = checkProgram(options)
  const closing = new AbortController()
  const turns = new Turns(MAX_CALLS_AT_ONCE, MAX_CALLS_WAITING)
  const readModels = [options.readModels ?? []].flat()
  const served: Served = { name, program, readModels, write, states: new States(store) }

  const serveFile = async (request: Request, path: string): Promise<Response> => {
    if (request.method !== 'GET' && request.method !== 'HEAD') return notAllowed('GET, HEAD')
    const files = await loadPage()
    const file = Object.hasOwn(files, path) ? files[path] : undefined
    if (!file) return problem(NOT_FOUND)
    return answer(request.method === 'HEAD' ? null : file.text, file.type)
  }

  const serveCall = async (request: Request, called: string): Promise<Response> => {
    if (request.method !== 'POST') return notAllowed('POST')
    const refusal = await refuseStranger(request, guard)
    if (refusal) return problem(refusal)
    const call = Object.hasOwn(CALLS, called) ? CALLS[called] : undefined
    if (!call) return problem(NOT_FOUND)
    const input = await inputOf(request)
    if (input instanceof Response) return input
    const signal = AbortSignal.any([request.signal, closing.signal, AbortSignal.timeout(CALL_TIMEOUT_MS)])
    try {
      return json(await turns.take(() => call({ store, signal }, input, served), signal))
    } catch (error) {
      if (request.signal.aborted) return problem(GONE)
      if (closing.signal.aborted) return problem(CLOSED)
      return signal.aborted ? problem(TIMED_OUT) : problemOf(error)
    }
  }

  const fetch = async (request: Request): Promise<Response> => {
    try {
      if (closing.signal.aborted) return problem(CLOSED)
      const foreign = refuseForeign(request, guard)
      if (foreign) return problem(foreign)
      const { pathname } = new URL(request.url)
      const isBare = `${pathname}/` === base
      if (!isBare && !pathname.startsWith(base)) return problem(NOT_FOUND)
      const path = pathname.slice(base.length)
      if (path.startsWith('api/')) return await serveCall(request, path.slice('api/'.length))
      if ('authorize' in guard.access) {
        const stranger = await refuseStranger(request, guard)
        if (stranger) return problem(stranger)
      }
      // The page names its files relative to itself, so its path ends with a slash.
      if (isBare) return answer(null, 'text/plain', { status: 308, headers: { Location: base } })
      return await serveFile(request, path === '' ? 'index.html' : path)
    } catch (error) {
      return problemOf(error)
    }
  }

  return {
    fetch,
    token: 'token' in guard.access ? guard.access.token : undefined,
    async close() {
      closing.abort()
      await turns.end()
    },
  }
}

/** What all calls of an inspector share. */
export interface Served {
  readonly name: string
  readonly program: Program
  readonly readModels: readonly ProjectionTarget<unknown>[]
  /** Whether actions are allowed. */
  readonly write: boolean
  readonly states: States
}

const CALLS: Readonly<
  Record<string, (context: CallContext, input: unknown, served: Served) => Promise<unknown>>
> = {
  about,
  categories: categoriesPage,
  streams: streamsPage,
  stream: streamPage,
  log: logPage,
  tail,
  trace,
  throughput,
  event: eventDetail,
  value: (context, input, served) =>
    isOfState(input) ? valueOfState(context, input, served) : valueOf(context, input),
  state: stateShown,
  try: tryCommand,
  followers,
  follower,
  unblock,
}

function isOfState(input: unknown): boolean {
  const { of } = input as { readonly of?: unknown }
  return (Object(of) as { readonly part?: unknown }).part === 'state'
}

/** So many calls read the store at once; the store is busy enough with its program. */
const MAX_CALLS_AT_ONCE = 8
const MAX_CALLS_WAITING = 100
const CALL_TIMEOUT_MS = 30_000
const MAX_BODY_BYTES = 5 * 1024 * 1024
const MIN_TOKEN_CHARACTERS = 32

const NOT_FOUND = { status: 404, code: 'NOT_FOUND', message: 'the inspector has nothing under this path' }
const GONE = { status: 499, code: 'GONE', message: 'the client has gone' }
const CLOSED = { status: 503, code: 'CLOSED', message: 'the inspector is closed' }
const TIMED_OUT = {
  status: 503,
  code: 'TIMED_OUT',
  message: `the store has not answered within ${String(CALL_TIMEOUT_MS / 1_000)} s: ask for less, or try again`,
}

function notAllowed(methods: string): Response {
  const message = `this path takes ${methods}`
  return problem({ status: 405, code: 'METHOD_NOT_ALLOWED', message }, { Allow: methods })
}

/** The JSON of a call. A page of another origin cannot send this type without being asked first, and it is never told yes. */
async function inputOf(request: Request): Promise<Response | object> {
  const type = request.headers.get('Content-Type') ?? ''
  if (!/^application\/json(?:\s*;.*)?$/i.test(type)) {
    return problem({ status: 415, code: 'NOT_JSON', message: 'a call is sent as application/json' })
  }
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of (request.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > MAX_BODY_BYTES) {
      const message = `a call may have at most ${String(MAX_BODY_BYTES)} bytes`
      return problem({ status: 413, code: 'TOO_LARGE', message })
    }
    chunks.push(chunk)
  }
  try {
    const input: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'))
    if (typeof input === 'object' && input !== null && !Array.isArray(input)) return input
  } catch {
    // Answered below.
  }
  return problem({ status: 400, code: 'NOT_JSON', message: 'the body of a call has to be a JSON object' })
}

/** @throws TypeError */
function guardOf({ hosts = LOOPBACK_HOSTS, authorize, token }: InspectorOptions): Guard {
  if (!Array.isArray(hosts) || !hosts.every((host: unknown) => typeof host === 'string' && host !== '')) {
    throw new TypeError("hosts has to be a list of names, like ['admin.example.org']")
  }
  const names = (hosts as readonly string[]).map((host) => host.toLowerCase())
  if (authorize !== undefined) {
    if (typeof authorize !== 'function') {
      throw new TypeError('authorize has to be a function from a request to true or false')
    }
    if (token !== undefined) throw new TypeError('give either a token or authorize, not both')
    return { hosts: names, access: { authorize } }
  }
  if (token !== undefined && (typeof token !== 'string' || !/^[\w-]{32,}$/.test(token))) {
    throw new TypeError(
      `token has to be at least ${String(MIN_TOKEN_CHARACTERS)} letters, digits, '-' and '_'; leave it out to have one made`,
    )
  }
  return { hosts: names, access: { token: token ?? randomBytes(32).toString('base64url') } }
}

/** With a slash at its beginning and its end. @throws TypeError */
function basePathOf(path = '/'): string {
  if (typeof path === 'string' && path.startsWith('/') && !/[?#]/.test(path)) {
    return path.endsWith('/') ? path : `${path}/`
  }
  throw new TypeError("basePath has to be a path, like '/admin/history'")
}
