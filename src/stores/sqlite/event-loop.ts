/**
 * SQLite answers at once, so one await after another on it would go on in microtasks for ever, and no timer
 * and no socket would get a turn. Before each piece of work, ask {@link isTurnDue}; if so, wait for
 * {@link nextTurn}.
 */
export function isTurnDue(): boolean {
  const now = performance.now()
  if (workingSince !== undefined) return now - workingSince > LONGEST
  workingSince = now
  setImmediate(turned)
  return false
}

/** Resolves when the event loop has turned: timers and I/O had their chance. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

/** When the first work since the event loop last turned began. */
let workingSince: number | undefined

function turned(): void {
  workingSince = undefined
}

/** Milliseconds: a timer is late by this, and by one piece of work. */
const LONGEST = 1
