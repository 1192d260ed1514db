import type { PageProps } from '../app.tsx'
import { useCall } from '../calls.ts'
import { go, linkTo, type Params } from '../route.ts'
import { Field, FilterBar, Pages } from '../ui/controls.tsx'
import { EventList } from '../ui/event-list.tsx'
import { timeText, whole } from '../ui/format.tsx'
import { LogFields, logFilter } from '../ui/log-filter.tsx'
import { Empty, Result } from '../ui/notes.tsx'
import { filled } from './streams.tsx'

const ROWS = 100

/** The events of all streams, in the order of the store. */
export function LogPage({ about, route }: PageProps) {
  const { order = 'newest', after, event, ...filter } = route.params
  const { stream, category, type, since, until } = filter
  const called = useCall('log', {
    direction: order === 'oldest' ? 'forwards' : 'backwards',
    limit: ROWS,
    ...filled({ after, since, until }),
    ...logFilter(filter),
  })
  const link = (params: Params) => linkTo('log', undefined, { ...filter, order: orderIn(order), ...params })
  return (
    <>
      <h1>Log</h1>
      <FilterBar
        values={{
          type,
          category,
          stream,
          since: localOf(since),
          until: localOf(until),
          order: orderIn(order),
        }}
        onApply={(values) =>
          go(linkTo('log', undefined, { ...values, since: isoOf(values.since), until: isoOf(values.until) }))
        }
      >
        {(input) => (
          <>
            <LogFields about={about} input={input} />
            <Field name="From">
              <input type="datetime-local" step={1} {...input('since')} />
            </Field>
            <Field name="Before">
              <input type="datetime-local" step={1} {...input('until')} />
            </Field>
            <Field name="Order">
              <select {...input('order')}>
                <option value="">newest first</option>
                <option value="oldest">oldest first</option>
              </select>
            </Field>
          </>
        )}
      </FilterBar>
      <Result called={called}>
        {({ events, next, scanned }) => (
          <>
            {events.length > 0 ? (
              <EventList
                label="Events of the store"
                withStream
                events={events}
                opened={event}
                onOpen={(place) => go(link(filled({ after, event: place })), { replace: true })}
              />
            ) : next !== undefined ? (
              <Empty title={`Not among ${whole(scanned)} events`}>
                A filter by time looks at one event after the other.{' '}
                <a href={link({ after: next })}>Search on</a>
              </Empty>
            ) : Object.keys(filter).length > 0 ? (
              <Empty title="No event passes the filter">
                <a href={linkTo('log')}>Show all events</a>
              </Empty>
            ) : (
              <Empty title="There is no event">
                {after === undefined
                  ? 'A program has to append the first one.'
                  : 'This is the end of the log.'}
              </Empty>
            )}
            {(after !== undefined || next !== undefined) && (
              <Pages
                links={[
                  [order === 'oldest' ? 'Oldest' : 'Newest', after === undefined ? undefined : link({})],
                  [
                    order === 'oldest' ? 'Later' : 'Earlier',
                    next === undefined ? undefined : link({ after: next }),
                  ],
                ]}
              />
            )}
          </>
        )}
      </Result>
    </>
  )
}

function orderIn(order: string): string | undefined {
  return order === 'oldest' ? order : undefined
}

/** A time of the store, as a form shows it. */
function localOf(iso: string | undefined): string | undefined {
  if (iso === undefined || Number.isNaN(Date.parse(iso))) return undefined
  return timeText(iso)
    .replace(' ', 'T')
    .replace(/\.\d+$/, '')
}

/** A local time of a form, as a time of the store: links are read in other zones, too. */
function isoOf(local: string | undefined): string | undefined {
  if (local === undefined || local === '') return undefined
  const date = new Date(local)
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString()
}
