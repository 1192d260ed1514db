/** The current time as events carry it: ISO 8601, UTC, with milliseconds. */
export function currentTime(): string {
  return timeOf(Date.now())
}

/** A time, in milliseconds since 1970, as events carry it. Neighbours often have the same: it is written out once. */
export function timeOf(milliseconds: number): string {
  if (milliseconds !== last) {
    last = milliseconds
    text = new Date(milliseconds).toISOString()
  }
  return text
}

let last = NaN
let text = ''
