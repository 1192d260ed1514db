/** The current time as events carry it: ISO 8601, UTC, with milliseconds. Written out once a millisecond. */
export function currentTime(): string {
  const now = Date.now()
  if (now !== last) {
    last = now
    text = new Date(now).toISOString()
  }
  return text
}

let last = NaN
let text = ''
