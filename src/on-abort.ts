/**
 * Calls back when a signal is aborted.
 *
 * One signal may be shared by thousands of calls, but gets one listener: Node 20 warns of a leak at the
 * eleventh.
 *
 * @returns what ends it.
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

const waitingOn = new WeakMap<AbortSignal, Set<() => void>>()

function aborted(this: AbortSignal): void {
  for (const callback of [...(waitingOn.get(this) ?? [])]) callback()
}
