/**
 * Calls back when a signal is aborted.
 *
 * A signal that thousands of calls share gets one listener: Node 20 warns of a leak at the eleventh.
 *
 * @returns a function that removes the callback.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let waiting = waitingOn.get(signal)
  if (!waiting) {
    waitingOn.set(signal, (waiting = new Set()))
    signal.addEventListener('abort', aborted)
  }
  waiting.add(callback)
  return () => {
    waiting.delete(callback)
    if (waiting.size > 0 || waitingOn.get(signal) !== waiting) return
    waitingOn.delete(signal)
    signal.removeEventListener('abort', aborted)
  }
}

/** What a call gives, but no later than a signal is aborted: then it rejects with the reason, and the call goes on unseen. */
export async function unlessAborted<T>(call: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return call
  let stop!: () => void
  const aborted = new Promise<never>((_, reject) => {
    stop = onAbort(signal, () => {
      reject(signal.reason as Error)
    })
  })
  try {
    return await Promise.race([call, aborted])
  } finally {
    stop()
  }
}

/** A controller that is aborted with a signal, or earlier by its owner, who calls `stop` at the end. */
export function endingWith(signal: AbortSignal | undefined): {
  readonly ending: AbortController
  readonly stop: () => void
} {
  const ending = new AbortController()
  if (!signal) return { ending, stop: () => undefined }
  const stop = onAbort(signal, () => {
    ending.abort()
  })
  if (signal.aborted) ending.abort()
  return { ending, stop }
}

/**
 * A signal that is aborted with the first of two, for the same reason. Not `AbortSignal.any`: in Node 20, a signal that lives
 * long keeps what was made of it.
 */
export function anySignal(
  first: AbortSignal | undefined,
  second: AbortSignal | undefined,
): { readonly signal: AbortSignal | undefined; readonly release: () => void } {
  if (first === undefined || second === undefined || first === second) {
    return { signal: first ?? second, release: () => undefined }
  }
  const either = new AbortController()
  const releases = [first, second].map((signal) => {
    const abort = () => {
      either.abort(signal.reason)
    }
    if (signal.aborted) abort()
    return onAbort(signal, abort)
  })
  return {
    signal: either.signal,
    release: () => {
      for (const release of releases) release()
    },
  }
}

/**
 * Removes a waiting call from its queue and rejects it when a signal is aborted, until the call is settled.
 *
 * @param waiting the call; its `resolve` and `reject` are wrapped.
 * @param queue the queue; a call that has left it is no longer rejected.
 */
export function withdrawOnAbort<W extends Settleable>(
  signal: AbortSignal,
  waiting: W,
  queue: () => W[],
): void {
  const withdraw = () => {
    const index = queue().indexOf(waiting)
    if (index < 0) return
    queue().splice(index, 1)
    waiting.reject(signal.reason)
  }
  const { resolve, reject } = waiting
  const settled = onAbort(signal, withdraw)
  waiting.resolve = (value) => {
    settled()
    resolve(value)
  }
  waiting.reject = (reason) => {
    settled()
    reject(reason)
  }
  if (signal.aborted) withdraw()
}

interface Settleable {
  resolve: (value: never) => void
  reject: (reason: unknown) => void
}

const waitingOn = new WeakMap<AbortSignal, Set<() => void>>()

function aborted(this: AbortSignal): void {
  for (const callback of [...(waitingOn.get(this) ?? [])]) callback()
}
