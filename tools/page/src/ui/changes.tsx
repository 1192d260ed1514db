import type { Change, Path, Shown } from '../../../src/inspector/api.ts'
import { JsonView, keyOf } from './json-view.tsx'
import { Text } from './text.tsx'

/** What is different between two states: what was there, and what is there now. */
export function Changes({
  changes,
  isMore,
  nothing,
}: {
  readonly changes: readonly Change[]
  readonly isMore: boolean
  /** What to say if there is no difference. */
  readonly nothing: string
}) {
  if (changes.length === 0) return <p class="lead">{nothing}</p>
  return (
    <ul class="changes">
      {changes.map(({ path, before, after }) => (
        <li key={keyOf(path)}>
          <p class="change-path">
            <Text value={pathText(path)} />
          </p>
          {before && (
            <del>
              <span class="unseen">before: </span>
              <Value shown={before} />
            </del>
          )}
          {after && (
            <ins>
              <span class="unseen">after: </span>
              <Value shown={after} />
            </ins>
          )}
        </li>
      ))}
      {isMore && <li class="lead">There are more differences than are listed here.</li>}
    </ul>
  )
}

function Value({ shown }: { readonly shown: Shown }) {
  return <JsonView shown={shown} />
}

/** A path as a program would write it. */
function pathText(path: Path): string {
  if (path.length === 0) return 'the whole state'
  return path
    .map((key, i) => {
      if (typeof key === 'number') return `[${String(key)}]`
      if (!/^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(key)) return `[${JSON.stringify(key)}]`
      return i === 0 ? key : `.${key}`
    })
    .join('')
}

/** The paths that differ, for the tree of the state. */
export function markedBy(changes: readonly Change[]): ReadonlySet<string> {
  return new Set(changes.filter(({ after }) => after).map(({ path }) => keyOf(path)))
}
