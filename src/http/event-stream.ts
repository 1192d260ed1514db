import { every, systemClock } from '../base/clock.ts'
import { environment } from '../base/environment.ts'
import { InvalidArgumentError } from '../base/errors.ts'
import type { Checkpoint, Recorded, Subscription } from '../index.ts'
import { HttpError } from './http-error.ts'

/** One message of a stream of server-sent events. */
export interface EventMessage {
  /** The name that the client listens to, by `addEventListener`. Default: none, for `onmessage`. */
  readonly event?: string | undefined
  /** JSON; `null` if there is nothing to say. */
  readonly data: unknown
}

/** Where a subscription is to begin: what `store.subscribe` takes. */
export interface ResumeOptions {
  /** The checkpoint in `Last-Event-ID`; absent if the request has none. */
  readonly from?: Checkpoint
}

/** What a stream of server-sent events is made of. */
export interface EventRoute {
  /**
   * Subscribes: `(resume) => store.subscribe({ from: 'end', ...resume, categories: ['Order'] })`. What precedes
   * `...resume` says where a client begins that has seen no event.
   */
  readonly subscribe: (resume: ResumeOptions) => Subscription
  /**
   * What the client is told of an event; `undefined` leaves the event out. It decides what leaves the service, so name
   * the fields.
   */
  readonly message: (event: Recorded) => EventMessage | undefined | Promise<EventMessage | undefined>
  /**
   * Milliseconds of silence after which a comment is sent, so that proxies keep the connection. A client that takes
   * nothing for twice this time is closed; it resumes by `Last-Event-ID`. Default: 8,000 ms, less than the shortest common
   * time-out of a connection, 10 s.
   */
  readonly heartbeat?: number | undefined
  /** Milliseconds after which the response ends and the client resumes, for example to be authorized anew. Default: never. */
  readonly endAfter?: number | undefined
  /** Further headers of the response. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

const DEFAULT_HEARTBEAT_MS = 8_000

/**
 * Answers a request with the events of a subscription. Nothing is buffered: an event is taken when the client has taken
 * the one before it.
 *
 * @throws HttpError, 400, if `Last-Event-ID` is malformed.
 * @throws the error of the subscription, if it cannot begin there.
 */
export async function eventStream(
  request: Request,
  route: EventRoute,
  onError: (error: unknown) => void,
): Promise<Response> {
  const from = checkpointIn(request.headers)
  const stream = new EventStream(route, route.subscribe(from === undefined ? {} : { from }), onError)
  await stream.begun
  return new Response(stream.body(request.signal), {
    headers: {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-cache, no-transform',
      'X-Accel-Buffering': 'no',
      ...route.headers,
    },
  })
}

/** The events of a subscription as bytes, for one client. */
class EventStream {
  readonly #route: EventRoute
  readonly #heartbeat: number
  readonly #subscription: Subscription
  readonly #onError: (error: unknown) => void
  /** The event that is asked for before there is a response, so that a subscription that cannot begin is no response. */
  #first: Promise<IteratorResult<Recorded, undefined>> | undefined
  /** Settles when the subscription has begun, or a heartbeat has passed without an answer of the store. */
  readonly begun: Promise<void>
  #controller!: ReadableStreamDefaultController<Uint8Array>
  #stopBeating: (() => void) | undefined
  #cancelEnd: (() => void) | undefined
  #stopListening: (() => void) | undefined
  #isOver = false
  /** The id that the client was told last. */
  #toldId = ''
  /** Whether the client waits for the next event. */
  #isPulling = false
  /** Whether an event was taken and its message is not yet made: the client must not resume behind it. */
  #isMaking = false
  /** Since the last heartbeat: whether anything was sent, and whether the client came back for more. */
  #hasSent = false
  #hasTaken = false
  /** Whether the client took nothing at the last heartbeat. */
  #wasStalled = false

  constructor(route: EventRoute, subscription: Subscription, onError: (error: unknown) => void) {
    this.#route = route
    this.#heartbeat = route.heartbeat ?? DEFAULT_HEARTBEAT_MS
    this.#subscription = subscription
    this.#onError = onError
    this.#first = subscription.next()
    this.begun = this.#begin(this.#first)
  }

  async #begin(first: Promise<unknown>): Promise<void> {
    let cancel: (() => void) | undefined
    const waited = new Promise<void>((resolve) => {
      cancel = environment.after(this.#heartbeat, resolve)
    })
    // Without an event, having caught up tells that it has begun. The error of both is that of `first`.
    const caughtUp = this.#subscription.caughtUp().catch(() => first)
    try {
      await Promise.race([first, caughtUp, waited])
    } catch (error) {
      await this.#finish()
      throw error
    } finally {
      cancel?.()
    }
  }

  body(signal: AbortSignal): ReadableStream<Uint8Array> {
    // Without a queue: `pull` is called when the client has taken everything.
    const strategy = { highWaterMark: 0 }
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller
          this.#send(': open\n\n')
          this.#stopBeating = every(systemClock, this.#heartbeat, () => this.#tick())
          const { endAfter } = this.#route
          if (endAfter !== undefined) {
            this.#cancelEnd = environment.after(endAfter, () => this.#close())
          }
          // Not an error: Deno would log one for each client that leaves.
          const gone = () => this.#close()
          if (signal.aborted) gone()
          else {
            signal.addEventListener('abort', gone)
            this.#stopListening = () => signal.removeEventListener('abort', gone)
          }
        },
        pull: () => this.#pull(),
        cancel: () => this.#finish(),
      },
      strategy,
    )
  }

  /** Sends the next message. */
  async #pull(): Promise<void> {
    this.#hasTaken = true
    this.#isPulling = true
    try {
      for (;;) {
        const next = this.#first ?? this.#subscription.next()
        this.#first = undefined
        const { done, value } = await next
        if (this.#isOver) return
        if (done) break
        const id = this.#id()
        this.#isMaking = true
        const message = await this.#route.message(value)
        this.#isMaking = false
        // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- it may be over by now
        if (this.#isOver) return
        if (message === undefined) continue
        this.#toldId = id
        this.#send(textOf(id, message))
        return
      }
      this.#close()
    } catch (error) {
      if (this.#isOver) return
      // The client resumes by its Last-Event-ID, and is then told the error as a response, if it lasts.
      this.#onError(error)
      this.#close()
    } finally {
      this.#isPulling = false
    }
  }

  /** Tells that the connection lives, and how far the history was looked through; notices a client that takes nothing. */
  #tick(): void {
    const isStalled = !this.#isPulling || (this.#controller.desiredSize ?? 0) < 0
    if (isStalled && this.#wasStalled && !this.#hasTaken) {
      this.#fail(new Error('the client takes no more events'))
      return
    }
    if (!this.#hasSent && !isStalled) {
      const id = this.#isMaking ? this.#toldId : this.#id()
      const isNews = id !== this.#toldId
      this.#toldId = id
      this.#send(isNews ? `id: ${id}\n\n` : ':\n\n')
    }
    this.#wasStalled = isStalled
    this.#hasSent = false
    this.#hasTaken = false
  }

  #id(): string {
    const { checkpoint } = this.#subscription
    return checkpoint === undefined ? '' : `${checkpoint.position}.${checkpoint.id}.${checkpoint.store}`
  }

  #send(text: string): void {
    this.#hasSent = true
    this.#controller.enqueue(encoder.encode(text))
  }

  /** Ends the response after what was sent. */
  #close(): void {
    if (this.#isOver) return
    void this.#finish()
    this.#controller.close()
  }

  /** Ends the connection at once. */
  #fail(error: unknown): void {
    if (this.#isOver) return
    void this.#finish()
    this.#controller.error(error)
  }

  async #finish(): Promise<void> {
    this.#isOver = true
    this.#stopBeating?.()
    this.#cancelEnd?.()
    this.#stopListening?.()
    await this.#subscription.return?.()
  }
}

const encoder = new TextEncoder()

function textOf(id: string, { event, data }: EventMessage): string {
  const name = event === undefined ? '' : `event: ${event.replace(/[\r\n]/g, ' ')}\n`
  // Not so by its type: undefined, or a function.
  const text = JSON.stringify(data) as string | undefined
  if (text === undefined) {
    throw new InvalidArgumentError('message', {
      message:
        `the message of ${event ?? 'an event'} has no data that is JSON; give { data: null } if there is nothing to say, ` +
        'or return undefined instead of a message to leave the event out',
    })
  }
  return `id: ${id}\n${name}data: ${text}\n\n`
}

/** The checkpoint in `Last-Event-ID`. */
function checkpointIn(headers: Headers): Checkpoint | undefined {
  const value = headers.get('Last-Event-ID')
  if (value === null || value === '') return undefined
  const [, position, id, store] = /^([\d-]+)\.([\w-]+)\.([\w-]+)$/.exec(value) ?? []
  if (position !== undefined && id !== undefined && store !== undefined) return { store, position, id }
  const detail = 'Last-Event-ID is not an id of this stream; connect without it, and begin anew'
  throw new HttpError(400, { code: 'INVALID_HEADER', detail })
}
