import { environment } from '../../base/environment.ts'

/**
 * Whether the event loop is due for a turn. SQLite answers synchronously, so calls that await each other would continue
 * in microtasks for ever, and no timer and no socket would get a turn. Ask before each piece of work; if a turn is due,
 * wait for `nextTurn`.
 */
export function isTurnDue(): boolean {
  const now = environment.now()
  if (workingSince !== undefined) return now - workingSince > MAX_WORK_MS
  workingSince = now
  environment.nextTurn(turned)
  return false
}

/** When the first work since the last turn of the event loop began. */
let workingSince: number | undefined

function turned(): void {
  workingSince = undefined
}

/** Milliseconds of work between two turns: a timer is late by this, plus one piece of work. */
const MAX_WORK_MS = 1
