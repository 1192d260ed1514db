import type { EventRow } from '../../../src/inspector/api.ts'
import type { PageProps } from '../app.tsx'
import { useCall } from '../calls.ts'
import { go, linkTo } from '../route.ts'
import { Field, FilterBar, Pages } from '../ui/controls.tsx'
import { EventList } from '../ui/event-list.tsx'
import { counted } from '../ui/format.tsx'
import { MAX_LANES, TimeAxis } from '../ui/time-axis.tsx'
import { Empty, Result } from '../ui/notes.tsx'
import { Text, visible } from '../ui/text.tsx'
import { filled } from './streams.tsx'

const MAX_EVENTS = 300

/** Several streams, one below the other, on one axis of time. */
export function LanesPage({ route }: Pick<PageProps, 'route'>) {
  const { streams: listed = '', axis, after, event } = route.params
  const streams = [...new Set(listed.split('\n').filter((name) => name !== ''))].slice(0, MAX_LANES)
  const called = useCall(
    'log',
    streams.length === 0
      ? undefined
      : { direction: 'backwards', limit: MAX_EVENTS, streams, ...filled({ after }) },
  )
  const link = (params: object) => linkTo('lanes', undefined, filled({ streams: listed, axis, ...params }))
  return (
    <>
      <h1>Time axis</h1>
      <FilterBar
        values={{ stream: '' }}
        action="Add"
        onApply={({ stream }) => {
          if (stream !== undefined && stream !== '') go(link({ streams: [...streams, stream].join('\n') }))
        }}
      >
        {(input) => (
          <Field name={`Another stream, up to ${String(MAX_LANES)}`} grow>
            <input type="search" spellcheck={false} required {...input('stream')} />
          </Field>
        )}
      </FilterBar>
      {streams.length > 0 && (
        <ul class="chosen" aria-label="Streams on the axis">
          {streams.map((name) => (
            <li key={name} class="chip">
              <a class="name" href={linkTo('stream', name)}>
                <Text value={name} />
              </a>{' '}
              <a
                class="chip-remove"
                aria-label={`Remove ${visible(name)}`}
                href={link({ streams: streams.filter((other) => other !== name).join('\n') })}
              >
                ×
              </a>
            </li>
          ))}
        </ul>
      )}
      {streams.length === 0 ? (
        <Empty title="No stream is on the axis">
          Add one by its name, or choose “Time axis” at a stream, or “On a time axis” at causes and effects.
        </Empty>
      ) : (
        <Result called={called}>
          {({ events, next }) =>
            events.length === 0 ? (
              <Empty title="These streams have no event" />
            ) : (
              <>
                <Lanes
                  streams={streams}
                  events={events.toReversed()}
                  isByOrder={axis === 'order'}
                  opened={event}
                  onOpen={(event) => go(link({ after, event }), { replace: true })}
                  otherAxis={link({ after, event, axis: axis === 'order' ? undefined : 'order' })}
                />
                {(after !== undefined || next !== undefined) && (
                  <Pages
                    links={[
                      ['Newest', after === undefined ? undefined : link({})],
                      ['Earlier', next === undefined ? undefined : link({ after: next })],
                    ]}
                  />
                )}
              </>
            )
          }
        </Result>
      )}
    </>
  )
}

function Lanes({
  events,
  isByOrder,
  otherAxis,
  opened,
  onOpen,
  ...props
}: {
  readonly streams: readonly string[]
  readonly events: readonly EventRow[]
  readonly isByOrder: boolean
  readonly otherAxis: string
  readonly opened: string | undefined
  readonly onOpen: (place: string | undefined) => void
}) {
  return (
    <>
      <div class="toolbar">
        <p class="lead">
          {counted(events.length, 'event')},{' '}
          {isByOrder ? 'one step each' : 'at the time when they were recorded'}
        </p>
        <a class="button small" href={otherAxis}>
          {isByOrder ? 'By time' : 'By order'}
        </a>
      </div>
      <TimeAxis {...props} events={events} isByOrder={isByOrder} opened={opened} onOpen={onOpen} />
      <EventList label="Events on the axis" withStream events={events} opened={opened} onOpen={onOpen} />
    </>
  )
}
