import type { PageProps } from '../app.tsx'
import { useCall } from '../calls.ts'
import { go, linkTo, type Params } from '../route.ts'
import { Field, FilterBar, Pages } from '../ui/controls.tsx'
import { EventList } from '../ui/event-list.tsx'
import { counted } from '../ui/format.tsx'
import { Empty, Result } from '../ui/notes.tsx'
import { Text } from '../ui/text.tsx'
import { NoAggregate, TimeTravel } from '../ui/time-travel.tsx'
import { filled } from './streams.tsx'

const ROWS = 50

/** A stream: its events, or its state as of any revision. */
export function StreamPage({ about, route }: PageProps) {
  const stream = route.subject ?? ''
  const { tab, at, aggregate } = route.params
  const isState = tab === 'state'
  return (
    <>
      <h1 class="name">
        <Text value={stream} />
      </h1>
      <nav class="tabs" aria-label="Views of the stream">
        <a href={linkTo('stream', stream)} aria-current={isState ? undefined : 'page'}>
          Events
        </a>
        <a href={linkTo('stream', stream, { tab: 'state' })} aria-current={isState ? 'page' : undefined}>
          State
        </a>
        <a href={linkTo('lanes', undefined, { streams: stream })}>Time axis</a>
      </nav>
      {isState && !about.aggregates.some(({ category }) => stream.startsWith(`${category}-`)) ? (
        <NoAggregate />
      ) : isState ? (
        <TimeTravel
          stream={stream}
          at={at === undefined ? undefined : Number(at)}
          aggregate={aggregate}
          canTry={about.commands.length > 0}
          onMove={(to) => go(linkTo('stream', stream, { tab, ...to }), { replace: true })}
        />
      ) : (
        <Events stream={stream} params={route.params} />
      )}
    </>
  )
}

function Events({ stream, params }: { readonly stream: string; readonly params: Params }) {
  const { from, event } = params
  const named = event === undefined ? undefined : Number.parseInt(event, 10)
  const start = Number(from ?? (named === undefined ? 0 : Math.floor(named / ROWS) * ROWS))
  const called = useCall('stream', { stream, from: start, limit: ROWS })
  const link = (params: object) => linkTo('stream', stream, filled({ ...params }))
  return (
    <Result called={called}>
      {({ head, events, next }) =>
        head === 'none' ? (
          <Empty title="The stream has no event">
            Nobody has appended to a stream of this name. <a href={linkTo('streams')}>Show all streams</a>
          </Empty>
        ) : (
          <>
            <div class="toolbar">
              <p class="lead">
                {counted(head + 1, 'event')}, the last at revision {head}
              </p>
              {head >= ROWS && (
                <FilterBar
                  values={{ revision: '' }}
                  action="Go"
                  onApply={({ revision }) => {
                    if (revision !== undefined && revision !== '') go(link({ from: revision }))
                  }}
                >
                  {(input) => (
                    <Field name="Go to revision">
                      <input type="number" min={0} max={head} required {...input('revision')} />
                    </Field>
                  )}
                </FilterBar>
              )}
            </div>
            {events.length === 0 ? (
              <Empty title="There is no event from this revision on">
                <a href={link({})}>Show the first ones</a>
              </Empty>
            ) : (
              <EventList
                label={`Events of ${stream}`}
                events={events}
                opened={event}
                onOpen={(place) =>
                  go(link({ from: start === 0 ? undefined : start, event: place }), { replace: true })
                }
              />
            )}
            {head >= ROWS && (
              <Pages
                links={[
                  ['First', start === 0 ? undefined : link({})],
                  ['Earlier', start === 0 ? undefined : link({ from: Math.max(0, start - ROWS) })],
                  ['Later', next === undefined ? undefined : link({ from: next })],
                  ['Last', next === undefined ? undefined : link({ from: Math.max(0, head - ROWS + 1) })],
                ]}
              />
            )}
          </>
        )
      }
    </Result>
  )
}
