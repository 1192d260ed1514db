import type { ComponentChildren } from 'preact'

import type { Called, CallFailure } from '../calls.ts'
import { Text } from './text.tsx'

/** Says that there is nothing, and what to do. */
export function Empty({
  title,
  children,
}: {
  readonly title: string
  readonly children?: ComponentChildren
}) {
  return (
    <div class="empty">
      <p class="empty-title">{title}</p>
      {children !== undefined && <div class="empty-text">{children}</div>}
    </div>
  )
}

/** Says why something cannot be shown. */
export function Failed({
  failure,
  retry,
}: {
  readonly failure: CallFailure
  readonly retry?: (() => void) | undefined
}) {
  return (
    <div class="failed" role="alert">
      <p>
        <Text value={failure.message} />
      </p>
      <p class="failed-foot">
        <code>{failure.code}</code>
        {retry && (
          <button type="button" class="button" onClick={retry}>
            Try again
          </button>
        )}
      </p>
    </div>
  )
}

/** Shows what a call gave, or why it gave nothing. */
export function Result<T>({
  called,
  children,
}: {
  readonly called: Called<T>
  readonly children: (data: T) => ComponentChildren
}) {
  if (called.failure) return <Failed failure={called.failure} retry={called.reload} />
  if (called.data === undefined) return <p class="loading">{called.isLoading ? 'Loading…' : ''}</p>
  return (
    <div class={called.isLoading ? 'result stale' : 'result'} aria-busy={called.isLoading}>
      {children(called.data)}
    </div>
  )
}
