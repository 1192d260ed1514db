/** A whole number with separators of thousands. */
export function whole(count: number): string {
  return count.toLocaleString('en')
}

/** A count with its noun. */
export function counted(count: number, noun: string): string {
  return `${whole(count)} ${noun}${count === 1 ? '' : 's'}`
}

/** A time of the store, in the zone of whoever looks. */
export function Time({ iso }: { readonly iso: string }) {
  return (
    <time dateTime={iso} title={iso}>
      {timeText(iso)}
    </time>
  )
}

/** Like `2026-12-01 14:03:09.120`. */
export function timeText(iso: string): string {
  const date = new Date(iso)
  if (Number.isNaN(date.getTime())) return iso
  const two = (n: number) => String(n).padStart(2, '0')
  const day = `${String(date.getFullYear())}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  return `${day} ${time}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

/** How long one time is behind another, like `+ 1.2 s`. */
export function elapsed(from: string, to: string): string {
  const ms = Date.parse(to) - Date.parse(from)
  return `${ms < 0 ? '−' : '+'} ${length(Math.abs(ms))}`
}

/** A length of time, like `1.2 s`. */
export function length(ms: number): string {
  const [unit, scale] = UNITS.find(([, scale]) => ms >= scale) ?? UNITS.at(-1)!
  return `${(ms / scale).toLocaleString('en', { maximumFractionDigits: 1 })} ${unit}`
}

const UNITS: readonly (readonly [unit: string, ms: number])[] = [
  ['days', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
  ['ms', 1],
]

/** One of eight colours, the same for a name wherever it is shown. */
export function hueOf(name: string): number {
  let hash = 0
  for (let i = 0; i < name.length; i++) hash = (Math.imul(hash, 31) + name.charCodeAt(i)) >>> 0
  return hash % 8
}
