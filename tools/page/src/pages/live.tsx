import { useState } from 'preact/hooks'

import type { PageProps } from '../app.tsx'
import { go, linkTo } from '../route.ts'
import { useTail } from '../tail.ts'
import { FilterBar } from '../ui/controls.tsx'
import { EventList } from '../ui/event-list.tsx'
import { counted, whole } from '../ui/format.tsx'
import { LogFields, logFilter } from '../ui/log-filter.tsx'
import { Empty, Failed } from '../ui/notes.tsx'
import { filled } from './streams.tsx'

/** Events as they are appended. */
export function LivePage({ about, route }: PageProps) {
  const { event, ...filter } = route.params
  const { type, category, stream } = filter
  const [isPaused, setPaused] = useState(false)
  // What somebody reads, or is about to open, must not run away.
  const [isHeld, setHeld] = useState(false)
  const isStill = isPaused || isHeld || event !== undefined
  const { rows, passed, perSecond, hasLeft, failure } = useTail(logFilter(filter), isStill)
  return (
    <>
      <h1>Live</h1>
      <FilterBar
        values={{ type, category, stream }}
        onApply={(values) => go(linkTo('live', undefined, values))}
      >
        {(input) => <LogFields about={about} input={input} />}
      </FilterBar>
      <div class="toolbar">
        <p class="lead">
          {isStill ? (
            isPaused ? (
              'Paused.'
            ) : (
              'Paused while an event has the focus or is open.'
            )
          ) : (
            <>
              <span class="live-dot" aria-hidden="true" /> {whole(Math.round(perSecond))} events a second,
            </>
          )}{' '}
          {counted(passed, 'event')} since the page was opened{hasLeft && ', and some that were left out'}.
        </p>
        <button type="button" class="button" aria-pressed={isPaused} onClick={() => setPaused(!isPaused)}>
          {isPaused ? 'Go on' : 'Pause'}
        </button>
      </div>
      {failure && <Failed failure={failure} />}
      {rows === undefined ? (
        !failure && <p class="loading">Loading…</p>
      ) : rows.length === 0 ? (
        <Empty title="No event yet">They appear here as soon as a program appends them.</Empty>
      ) : (
        <div onFocusIn={() => setHeld(true)} onFocusOut={() => setHeld(false)}>
          <EventList
            label="The last events"
            withStream
            isMoving
            events={rows}
            opened={event}
            onOpen={(place) =>
              go(linkTo('live', undefined, filled({ ...filter, event: place })), { replace: true })
            }
          />
        </div>
      )}
    </>
  )
}
