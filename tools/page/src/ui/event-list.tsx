import { useRef } from 'preact/hooks'

import type { EventPlace, EventRow } from '../../../src/inspector/api.ts'
import { call, useCall } from '../calls.ts'
import { linkTo } from '../route.ts'
import { counted, hueOf, Time } from './format.tsx'
import { JsonView, type Load } from './json-view.tsx'
import { Result } from './notes.tsx'
import { Text } from './text.tsx'

/** Events, one a line; each opens to all that is recorded of it. */
export function EventList({
  events,
  withStream = false,
  isMoving = false,
  opened,
  onOpen,
  label,
}: {
  readonly events: readonly EventRow[]
  readonly withStream?: boolean
  /** Whether other events come many times a second: lines are written over then, which is quicker than making new ones. */
  readonly isMoving?: boolean
  /** The event that is open, as {@link placeOf} names it. */
  readonly opened: string | undefined
  readonly onOpen: (place: string | undefined) => void
  readonly label: string
}) {
  const list = useRef<HTMLUListElement>(null)
  return (
    <ul
      ref={list}
      class={withStream ? 'events with-stream' : 'events'}
      aria-label={label}
      onKeyDown={(event) => {
        if (list.current && moveFocus(list.current, event.key, event.target)) event.preventDefault()
      }}
    >
      {events.map((event, i) => {
        const place = placeOf(event)
        const isOpen = place === opened
        return (
          <li key={isMoving ? i : place} class={isOpen ? 'event open' : 'event'}>
            <button
              type="button"
              class="event-row"
              aria-expanded={isOpen}
              onClick={() => onOpen(isOpen ? undefined : place)}
            >
              {withStream && (
                <span class="event-stream">
                  <Text value={event.stream} />
                </span>
              )}
              <span class="event-revision">{event.revision}</span>
              <span class="event-type">
                <span class={`dot hue-${String(hueOf(event.type))}`} aria-hidden="true" />
                <Text value={event.type} />
              </span>
              <span class="event-data">
                <Text value={event.preview} />
              </span>
              <span class="event-time">
                <Time iso={event.time} />
              </span>
            </button>
            {isOpen && <EventPanel row={event} />}
          </li>
        )
      })}
    </ul>
  )
}

/** Names the place of an event in an address. */
export function placeOf({
  stream,
  revision,
}: {
  readonly stream: string
  readonly revision: number
}): string {
  return `${String(revision)}@${stream}`
}

/** The place that an address names; `undefined` if it names none. */
export function placeIn(text: string | undefined): EventPlace | undefined {
  const match = /^(\d+)@(.+)$/s.exec(text ?? '')
  return match ? { revision: Number(match[1]), stream: match[2]! } : undefined
}

/** Up and down go through the lines, Home and End to the first and the last. */
function moveFocus(list: HTMLElement, key: string, from: EventTarget | null): boolean {
  const rows = [...list.querySelectorAll<HTMLElement>('.event-row')]
  const at = rows.indexOf(from as HTMLElement)
  if (at < 0) return false
  const steps: Readonly<Record<string, number>> = {
    ArrowDown: at + 1,
    ArrowUp: at - 1,
    Home: 0,
    End: rows.length - 1,
  }
  const row = rows[steps[key] ?? -1]
  row?.focus()
  return row !== undefined
}

function EventPanel({ row }: { readonly row: EventRow }) {
  const { stream, revision } = row
  const called = useCall('event', { stream, revision })
  const load =
    (part: 'data' | 'metadata'): Load =>
    (path, skip) =>
      call('value', { of: { stream, revision, part }, path, skip })
  return (
    <div class="event-panel">
      <Result called={called}>
        {(event) => (
          <>
            <JsonView shown={event.data} load={load('data')} />
            {Object.keys(event.metadata.value as object).length > 0 && (
              <>
                <h2 class="minor">Metadata</h2>
                <JsonView shown={event.metadata} load={load('metadata')} />
              </>
            )}
            <dl class="facts">
              <div>
                <dt>Stream</dt>
                <dd>
                  <a href={linkTo('stream', stream, { event: placeOf(row) })}>
                    <Text value={stream} />
                  </a>{' '}
                  at revision {revision}
                </dd>
              </div>
              <div>
                <dt>Version</dt>
                <dd>{event.version}</dd>
              </div>
              <div>
                <dt>Id</dt>
                <dd class="mono">{event.id}</dd>
              </div>
              <div>
                <dt>Position</dt>
                <dd class="mono">{event.position}</dd>
              </div>
              <div>
                <dt>Recorded</dt>
                <dd class="mono">{event.time}</dd>
              </div>
              <div>
                <dt>Size</dt>
                <dd>{counted(event.characters, 'character')}</dd>
              </div>
            </dl>
            <p class="actions">
              <a class="button small" href={linkTo('stream', stream, { tab: 'state', at: revision })}>
                State at this point
              </a>
              <a class="button small" href={linkTo('try', undefined, { at: placeOf(row) })}>
                Try a command after it
              </a>
              <a class="button small" href={linkTo('trace', undefined, { at: placeOf(row) })}>
                Causes and effects
              </a>
            </p>
          </>
        )}
      </Result>
    </div>
  )
}
