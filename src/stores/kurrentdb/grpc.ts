import type {
  FollowOptions,
  KurrentClient,
  KurrentRecorded,
  LogPosition,
  ReadAllOptions,
  ReadStreamOptions,
} from './driver.ts'
import {
  allRequest,
  callRead,
  type DriverParts,
  followRequest,
  type Message,
  positionOf,
  type ReadCall,
  streamRequest,
  toRecorded,
} from './driver-internals.ts'

/**
 * Reading by the driver's JavaScript part, of few events, in one go: its native part, which is ten times as fast with
 * many, holds up most calls for 40 ms, because it sends a request in two pieces of which the second waits until the
 * server has acknowledged the first. The driver itself does not offer this any more, but has all of the parts.
 */
export class QuickRead {
  readonly #parts: DriverParts

  constructor(parts: DriverParts) {
    this.#parts = parts
  }

  /** Reads a stream, unless it is given up. */
  stream(
    client: KurrentClient,
    stream: string,
    options: ReadStreamOptions,
    signal: AbortSignal,
  ): Promise<KurrentRecorded[]> {
    return this.#read(client, streamRequest(this.#parts, stream, options), options, signal)
  }

  /** Reads the log, unless it is given up. */
  all(client: KurrentClient, options: ReadAllOptions, signal: AbortSignal): Promise<KurrentRecorded[]> {
    return this.#read(client, allRequest(this.#parts, options), options, signal)
  }

  #read(
    client: KurrentClient,
    request: Message,
    options: ReadStreamOptions | ReadAllOptions,
    signal: AbortSignal,
  ): Promise<KurrentRecorded[]> {
    const { convertToCommandError } = this.#parts
    return callRead(client, this.#parts, options, (open) => {
      const records: KurrentRecorded[] = []
      return new Promise((resolve, reject) => {
        const call = open(request)
        signal.addEventListener('abort', () => {
          call.cancel()
        })
        call.on('data', (response) => {
          if (response.hasStreamNotFound()) {
            reject(Object.assign(new Error(), { type: 'stream-not-found' }))
            return
          }
          const recorded = response.hasEvent() ? response.getEvent().getEvent() : undefined
          if (recorded) records.push(toRecorded(recorded))
        })
        call.on('end', () => {
          resolve(records)
        })
        call.on('error', (error) => {
          reject(convertToCommandError(error))
        })
      })
    })
  }
}

/** What a subscription of the server's brought at once. */
export interface Followed {
  readonly records: readonly KurrentRecorded[]
  /** How far the server has looked after the last of the records, if it said so. */
  readonly checkpoint: LogPosition | undefined
  /** Whether it said on the way that it had come to the end of the log. */
  readonly isCaughtUp: boolean
}

/**
 * A subscription of the server's to its log, by the driver's JavaScript part, whose own subscriptions parse the data and give
 * events one by one. The server holds back what is not taken, apart from some kilobytes.
 *
 * Ends when its caller returns, or `signal` is aborted.
 *
 * @throws what the driver says when it fails.
 */
export async function* followLog(
  client: KurrentClient,
  parts: DriverParts,
  options: FollowOptions,
  signal: AbortSignal,
): AsyncGenerator<Followed, undefined> {
  let wake: () => void = () => undefined
  let call: ReadCall | undefined
  let failure: { readonly error: unknown } | undefined
  let isOver = signal.aborted
  const stop = () => {
    isOver = true
    call?.cancel()
    wake()
  }
  const open = (make: (request: ReturnType<typeof followRequest>) => ReadCall) =>
    new Promise<void>((resolve, reject) => {
      if (isOver) {
        resolve()
        return
      }
      call = make(followRequest(parts, options))
      call.on('readable', () => {
        wake()
      })
      call.on('end', resolve)
      call.on('error', (error) => {
        // The client would give up the connection of a cancelled call, also if the cancelling was ours.
        if (isOver) resolve()
        else reject(parts.convertToCommandError(error))
      })
    })
  void callRead(client, parts, options, open)
    .catch((error: unknown) => {
      failure = { error }
    })
    .finally(() => {
      isOver = true
      wake()
    })
  signal.addEventListener('abort', stop)
  try {
    for (;;) {
      const followed = call && take(call)
      if (followed) yield followed
      else if (failure) throw failure.error
      else if (isOver) return undefined
      else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  } finally {
    signal.removeEventListener('abort', stop)
    stop()
  }
}

/** The responses that have come, up to a maximum. */
function take(call: ReadCall): Followed | undefined {
  const records: KurrentRecorded[] = []
  let [checkpoint, isCaughtUp] = [undefined as LogPosition | undefined, false]
  while (records.length < MAX_EVENTS_AT_ONCE) {
    const response = call.read()
    if (!response) break
    const record = response.hasEvent() ? response.getEvent().getEvent() : undefined
    if (record) {
      records.push(toRecorded(record))
      checkpoint = undefined
    } else if (response.hasCheckpoint()) checkpoint = positionOf(response.getCheckpoint())
    else if (response.hasCaughtUp()) isCaughtUp = true
  }
  return records.length > 0 || checkpoint || isCaughtUp ? { records, checkpoint, isCaughtUp } : undefined
}

/** Events at once. */
const MAX_EVENTS_AT_ONCE = 64
