import type { KurrentClient, KurrentRecorded, ReadAllOptions, ReadStreamOptions } from './driver.ts'
import {
  allRequest,
  callRead,
  streamRequest,
  toRecorded,
  type DriverParts,
  type Message,
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
