import type { StateShown } from '../../../src/inspector/api.ts'
import { call, useCall } from '../calls.ts'
import { linkTo } from '../route.ts'
import { Changes, markedBy } from './changes.tsx'
import { placeOf } from './event-list.tsx'
import { hueOf, Time, whole } from './format.tsx'
import { JsonView } from './json-view.tsx'
import { Empty, Failed } from './notes.tsx'
import { Text } from './text.tsx'

/** The state of a stream as of any revision, and what each event has changed. */
export function TimeTravel({
  stream,
  at,
  aggregate,
  canTry,
  onMove,
}: {
  readonly stream: string
  /** `undefined`: the head. */
  readonly at: number | undefined
  readonly aggregate: string | undefined
  readonly canTry: boolean
  readonly onMove: (to: { readonly at?: number | undefined; readonly aggregate?: string | undefined }) => void
}) {
  const called = useCall('state', {
    stream,
    ...(at !== undefined && { revision: at }),
    ...(aggregate !== undefined && { aggregate }),
  })
  const { data, failure } = called
  if (failure && data === undefined && at === undefined)
    return <Failed failure={failure} retry={called.reload} />
  if (data?.head === 'none') return <Empty title="The stream has no event, so its state is the initial one" />
  return (
    <>
      <Slider head={data?.head} at={at ?? data?.head} onMove={(at) => onMove({ at, aggregate })} />
      {data && data.aggregates.length > 1 && (
        <label class="field inline">
          <span class="field-name">Folded by</span>
          <select
            value={data.aggregate}
            onChange={({ currentTarget: { value } }) => onMove({ at, aggregate: value })}
          >
            {data.aggregates.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
      )}
      {failure && <Failed failure={failure} retry={called.reload} />}
      {data && <Moment shown={data} stream={stream} canTry={canTry} isStale={called.isLoading} />}
      {!data && !failure && <p class="loading">Folding…</p>}
    </>
  )
}

function Slider({
  head,
  at,
  onMove,
}: {
  readonly head: number | undefined
  readonly at: number | undefined
  readonly onMove: (at: number) => void
}) {
  const [value, last] = [at ?? 0, head ?? at ?? 0]
  const move = (to: number) => {
    if (!Number.isNaN(to)) onMove(Math.min(Math.max(to, -1), last))
  }
  return (
    <div class="slider">
      <div class="slider-steps">
        <button type="button" class="button" disabled={value <= -1} onClick={() => move(-1)}>
          Start
        </button>
        <button type="button" class="button" disabled={value <= -1} onClick={() => move(value - 1)}>
          Back
        </button>
        <button type="button" class="button" disabled={value >= last} onClick={() => move(value + 1)}>
          Forward
        </button>
        <button type="button" class="button" disabled={value >= last} onClick={() => move(last)}>
          Now
        </button>
      </div>
      <input
        class="slider-range"
        type="range"
        aria-label="Revision"
        aria-valuetext={value < 0 ? 'before the first event' : `revision ${String(value)} of ${String(last)}`}
        min={-1}
        max={last}
        value={value}
        onInput={({ currentTarget }) => move(currentTarget.valueAsNumber)}
      />
      <label class="slider-number">
        <span class="field-name">Revision</span>{' '}
        <input
          type="number"
          min={-1}
          max={last}
          value={value}
          onChange={({ currentTarget }) => move(currentTarget.valueAsNumber)}
        />{' '}
        <span class="lead">of {whole(last)}</span>
      </label>
    </div>
  )
}

function Moment({
  shown,
  stream,
  canTry,
  isStale,
}: {
  readonly shown: StateShown
  readonly stream: string
  readonly canTry: boolean
  readonly isStale: boolean
}) {
  const { event, revision, aggregate } = shown
  const place = revision === 'none' ? undefined : placeOf({ stream, revision })
  return (
    <div class={isStale ? 'halves stale' : 'halves'} aria-busy={isStale}>
      <section>
        <h2>{event ? 'What happened' : 'Before the first event'}</h2>
        {event ? (
          <>
            <p class="moment">
              <span class={`dot hue-${String(hueOf(event.type))}`} aria-hidden="true" />
              <span class="name">
                <Text value={event.type} />
              </span>{' '}
              <span class="event-time">
                <Time iso={event.time} />
              </span>
            </p>
            <JsonView
              key={revision}
              shown={event.data}
              load={(path, skip) =>
                call('value', { of: { stream, revision: event.revision, part: 'data' }, path, skip })
              }
            />
          </>
        ) : (
          <p class="lead">This is the initial state, which no event has changed yet.</p>
        )}
        <h2>What it changed</h2>
        <Changes
          changes={shown.changes}
          isMore={shown.isMore}
          nothing={event ? 'This event changed nothing of the state.' : 'Nothing yet.'}
        />
        <p class="actions">
          {place !== undefined && (
            <a class="button" href={linkTo('stream', stream, { event: place })}>
              Show the event
            </a>
          )}
          {canTry && place !== undefined && (
            <a class="button" href={linkTo('try', undefined, { at: place })}>
              Try a command at this point
            </a>
          )}
        </p>
      </section>
      <section>
        <h2>The state {revision === 'none' ? 'at the start' : `at revision ${String(revision)}`}</h2>
        <JsonView
          shown={shown.state}
          marked={markedBy(shown.changes)}
          {...(revision !== 'none' && {
            load: (path, skip) =>
              call('value', { of: { stream, revision, part: 'state', aggregate }, path, skip }),
          })}
        />
      </section>
    </div>
  )
}

/** Says what is missing for a state. */
export function NoAggregate() {
  return (
    <Empty title="How its state follows from these events is not known">
      The inspector knows no aggregate of this category. Start it with <code>--model FILE</code>, a module
      that exports the program’s aggregates, or give <code>createInspector</code> its <code>aggregates</code>.
    </Empty>
  )
}
