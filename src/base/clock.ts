/** The current time as events carry it: ISO 8601, UTC, with milliseconds. */
export function currentTime(): string {
  return timeOf(Date.now())
}

/** A time, in milliseconds since 1970, as events carry it. Consecutive events often share it, so the last text is kept. */
export function timeOf(milliseconds: number): string {
  if (milliseconds !== last) {
    last = milliseconds
    text = new Date(milliseconds).toISOString()
  }
  return text
}

let last = NaN
let text = ''
