/**
 * Whether the event loop is due for a turn. SQLite answers synchronously, so calls that await each other would continue
 * in microtasks for ever, and no timer and no socket would get a turn. Ask before each piece of work; if a turn is due,
 * wait for {@link nextTurn}.
 */
export function isTurnDue(): boolean {
  const now = performance.now()
  if (workingSince !== undefined) return now - workingSince > MAX_WORK_MS
  workingSince = now
  setImmediate(turned)
  return false
}

/** Resolves after a turn of the event loop, in which timers and I/O had their chance. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

/** When the first work since the last turn of the event loop began. */
let workingSince: number | undefined

function turned(): void {
  workingSince = undefined
}

/** Milliseconds of work between two turns: a timer is late by this, plus one piece of work. */
const MAX_WORK_MS = 1
