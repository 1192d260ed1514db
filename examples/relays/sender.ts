import type { Recorded } from 'mneme'
import type { SendContext } from 'mneme/reactions'

/** What a relay sends with: `defineRelay({ …, send: sender.send })`. Close it when the relay has stopped. */
export interface Sender {
  send(batch: readonly Recorded[], context: SendContext): Promise<void>
  close(): Promise<void>
}

/** A connection to a broker, as its client has it. */
export interface Connection {
  /** Resolves when the broker has confirmed the events. */
  publish(batch: readonly Recorded[], signal: AbortSignal): Promise<unknown>
  close(): unknown
}

/**
 * Sends over a connection that is made when it is needed, and given up when a batch has failed or took too long: it may be
 * dead without a sign, and what it still holds must not go out later.
 */
export function senderOver(connect: () => Promise<Connection>): Sender {
  let current: Promise<Connection> | undefined
  const giveUp = async (connecting: Promise<Connection> | undefined) => {
    if (current === connecting) current = undefined
    await connecting?.then((connection) => connection.close()).catch(() => undefined)
  }
  return {
    close: () => giveUp(current),
    send: async (batch, { signal }) => {
      const connecting = (current ??= connect())
      const abandon = () => void giveUp(connecting)
      signal.addEventListener('abort', abandon, { once: true })
      try {
        await (await connecting).publish(batch, signal)
      } catch (error) {
        abandon()
        throw error
      } finally {
        signal.removeEventListener('abort', abandon)
      }
    },
  }
}

/** Publishes the events of a stream one after the other, and those of several streams side by side. */
export async function streamByStream(
  batch: readonly Recorded[],
  signal: AbortSignal,
  publish: (event: Recorded) => Promise<unknown>,
): Promise<void> {
  const last = new Map<string, Promise<unknown>>()
  for (const event of batch) {
    const before = last.get(event.stream) ?? Promise.resolve()
    const published = before.then(() => {
      signal.throwIfAborted()
      return publish(event)
    })
    last.set(event.stream, published)
  }
  // The relay sends a failed batch again, so no event of it may still be in flight.
  const outcomes = await Promise.allSettled(last.values())
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
}
