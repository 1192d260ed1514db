/** Whether a text is a day of the calendar with a time and a zone: engines read more than that, each in its own way. */
export function isIsoTime(text: unknown): text is string {
  if (typeof text !== 'string') return false
  const [, day] = /^(\d{4}-\d\d-\d\d)T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/.exec(text) ?? []
  const midnight = Date.parse(`${String(day)}T00:00:00Z`)
  const isDay = Number.isFinite(midnight) && new Date(midnight).toISOString().startsWith(day!)
  return isDay && Number.isFinite(Date.parse(text))
}

/** Whether a text is a time as stores give it: UTC, with milliseconds. */
export function isRecordedTime(text: unknown): text is string {
  return isIsoTime(text) && new Date(text).toISOString() === text
}
