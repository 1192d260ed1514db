import { inspect } from 'node:util'

/** A diff by line: expected lines with `-`, actual lines with `+`, equal lines with neither. For runners without a diff. */
export function difference(expected: unknown, actual: unknown): string {
  const [wanted, was] = [linesOf(expected), linesOf(actual)]
  let head = 0
  while (head < wanted.length && head < was.length && wanted[head] === was[head]) head++
  let tail = 0
  const most = Math.min(wanted.length, was.length) - head
  while (tail < most && wanted.at(-1 - tail) === was.at(-1 - tail)) tail++
  return [
    ...wanted.slice(0, head).map((line) => `  ${line}`),
    ...wanted.slice(head, wanted.length - tail).map((line) => `- ${line}`),
    ...was.slice(head, was.length - tail).map((line) => `+ ${line}`),
    ...wanted.slice(wanted.length - tail).map((line) => `  ${line}`),
  ].join('\n')
}

/** The lines of a value: one for each item of a list if it is short enough. An event reads like its constructor's call. */
function linesOf(value: unknown): string[] {
  if (value === undefined) return []
  if (value instanceof Error) return [`${value.name}: ${value.message}`]
  const items: unknown[] = Array.isArray(value) ? value : [value]
  return items.flatMap((item) => {
    if (!isEvent(item)) return shown(item).split('\n')
    const on = item.stream === undefined ? '' : `${item.stream}: `
    return `${on}${item.type} ${shown(item.data)}`.split('\n')
  })
}

function shown(value: unknown): string {
  return inspect(value, { depth: 10, breakLength: 100, sorted: true })
}

function isEvent(value: unknown): value is { stream?: string; type: string; data: unknown } {
  return typeof value === 'object' && value !== null && 'type' in value && 'data' in value
}
