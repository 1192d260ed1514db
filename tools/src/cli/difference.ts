import { printable } from './terminal.ts'

/** A place in two JSON values at which they differ; a value that is missing is left out. */
export interface Difference {
  readonly path: string
  readonly before?: unknown
  readonly after?: unknown
}

/** Where two JSON values differ: as deep inside as both are objects, or lists. */
export function differences(before: unknown, after: unknown, path = ''): Difference[] {
  if (!isBranch(before) || !isBranch(after) || Array.isArray(before) !== Array.isArray(after)) {
    if (JSON.stringify(before) === JSON.stringify(after)) return []
    return [
      {
        path: path === '' ? '.' : path,
        ...(before !== undefined && { before }),
        ...(after !== undefined && { after }),
      },
    ]
  }
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])]
  return keys.flatMap((key) =>
    differences(before[key], after[key], Array.isArray(before) ? `${path}[${key}]` : `${path}.${key}`),
  )
}

/** As lines: what was there after a minus, what is there after a plus. */
export function showDifferences(all: readonly Difference[]): string {
  if (all.length === 0) return 'no difference'
  const line = (sign: string, { path }: Difference, value: unknown) =>
    printable(`${sign} ${path}: ${JSON.stringify(value)}`)
  return all
    .flatMap((one) => [
      ...('before' in one ? [line('-', one, one.before)] : []),
      ...('after' in one ? [line('+', one, one.after)] : []),
    ])
    .join('\n')
}

function isBranch(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
