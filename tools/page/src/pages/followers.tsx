import type { ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'

import type {
  Calls,
  Follower,
  FollowerDetail,
  FollowerFailure,
  Lag,
  Unblocked,
} from '../../../src/inspector/api.ts'
import type { PageProps } from '../app.tsx'
import { call, type CallFailure, failureOf, useCall } from '../calls.ts'
import { useInterval } from '../polling.ts'
import { linkTo } from '../route.ts'
import { Bars } from '../ui/bars.tsx'
import { Field } from '../ui/controls.tsx'
import { placeOf } from '../ui/event-list.tsx'
import { counted, length, Time, timeText, whole } from '../ui/format.tsx'
import { JsonView } from '../ui/json-view.tsx'
import { Empty, Failed } from '../ui/notes.tsx'
import { Text } from '../ui/text.tsx'

const POLL_MS = 2_000

/** Asks again and again, and keeps what it was answered last while it asks. */
function usePolled<Name extends 'followers' | 'follower'>(name: Name, input: Calls[Name]['in']) {
  const called = useCall(name, input)
  useInterval(called.reload, POLL_MS)
  return called
}

/** The projections, reactions and relays of the inspector's databases. */
export function FollowersPage() {
  const { data, failure, reload } = usePolled('followers', {})
  return (
    <>
      <h1>Projections and reactions</h1>
      {data?.failures.map((message) => (
        <div class="failed" role="alert" key={message}>
          <p>
            <Text value={message} />
          </p>
        </div>
      ))}
      {failure && data === undefined ? (
        <Failed failure={failure} retry={reload} />
      ) : data === undefined ? (
        <p class="loading">Loading…</p>
      ) : data.databases === 0 ? (
        <Empty title="The inspector knows no database of read models">
          Start it with <code>--read-models URL</code>, or give <code>createInspector</code> its{' '}
          <code>readModels</code>.
        </Empty>
      ) : data.followers.length === 0 ? (
        <Empty title="There are none yet">
          No program has run a projection, a reaction or a relay that keeps its state there.
        </Empty>
      ) : (
        <List followers={data.followers} />
      )}
    </>
  )
}

function List({ followers }: { readonly followers: readonly Follower[] }) {
  return (
    <div class="wide">
      <table class="rows">
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">State</th>
            <th scope="col" class="number">
              Handled
            </th>
            <th scope="col" class="number">
              Behind it
            </th>
            <th scope="col" class="number">
              For
            </th>
            <th scope="col" class="number">
              Set aside
            </th>
          </tr>
        </thead>
        <tbody>
          {followers.map(({ name, kind, database, live, rebuild, parked }) => (
            <tr key={`${String(database)} ${name}`}>
              <th scope="row">
                <a class="name" href={linkTo('follower', name, { database: database || undefined })}>
                  <Text value={name} />
                </a>{' '}
                <span class="lead">{kind}</span>
              </th>
              <td>
                <State state={live.state} />
                {rebuild && <span class="chip">version {rebuild.version} is built</span>}
              </td>
              <td class="number">{whole(live.handled)}</td>
              <td class="number">{behind(live.lag)}</td>
              <td class="number">
                {live.lag && live.lag.events > 0 ? length(live.lag.seconds * 1_000) : '–'}
              </td>
              <td class="number">{whole(parked)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function behind(lag: Lag | undefined): string {
  if (!lag) return 'of another store'
  return `${whole(lag.events)}${lag.isMore ? '+' : ''}`
}

function State({ state }: { readonly state: Follower['live']['state'] }) {
  const colours = { running: 'good', rebuilding: 'good', retrying: 'warn', blocked: 'danger', stopped: '' }
  return <span class={`chip ${colours[state]}`}>{state}</span>
}

/** One of them: how far it is, what it waits for, what it has set aside, and its timers. */
export function FollowerPage({ route }: Pick<PageProps, 'route'>) {
  const name = route.subject ?? ''
  const database = Number(route.params.database ?? 0)
  const { data, failure, reload } = usePolled('follower', { name, database })
  const lags = useLags(data)
  return (
    <>
      <h1 class="name">
        <Text value={name} />
      </h1>
      {failure && data === undefined ? (
        <Failed failure={failure} retry={reload} />
      ) : data === undefined ? (
        <p class="loading">Loading…</p>
      ) : (
        <Detail detail={data} lags={lags} reload={reload} />
      )}
    </>
  )
}

/** So many answers make the plot of the lag: five minutes. */
const MAX_LAGS = 150

/** The lag at each answer since the page was opened. */
function useLags(data: Follower | undefined): readonly { readonly value: number; readonly title: string }[] {
  const [lags, setLags] = useState<readonly { readonly value: number; readonly title: string }[]>([])
  useEffect(() => {
    if (!data?.live.lag) return
    const lag = { value: data.live.lag.events, title: timeText(new Date().toISOString()) }
    setLags((lags) => [...lags, lag].slice(-MAX_LAGS))
  }, [data])
  return lags
}

function Detail({
  detail,
  lags,
  reload,
}: {
  readonly detail: FollowerDetail
  readonly lags: readonly { readonly value: number; readonly title: string }[]
  readonly reload: () => void
}) {
  const { kind, live, rebuild, parked, parkedEvents, timers } = detail
  return (
    <>
      <dl class="facts">
        <Fact name="Kind">{kind}</Fact>
        <Fact name="State">
          <State state={live.state} />
        </Fact>
        <Fact name="Version">{live.version}</Fact>
        <Fact name="Handled">{counted(live.handled, 'event')}</Fact>
        <Fact name="Behind it">{behind(live.lag)}</Fact>
        {rebuild && (
          <Fact name={`Version ${String(rebuild.version)}, which is built`}>
            {counted(rebuild.handled, 'event')} handled, {behind(rebuild.lag)} behind it
          </Fact>
        )}
      </dl>
      <p class="lead">
        What is behind it was appended after its checkpoint. Only its program knows how much of that it
        handles.
      </p>
      {live.failure && <Why failure={live.failure} />}
      {rebuild?.failure && <Why failure={rebuild.failure} />}
      <Unblock detail={detail} reload={reload} />
      {lags.length > 1 && (
        <>
          <h2>Events behind it since the page was opened</h2>
          <Bars label="Events behind it" from={lags[0]!.title} to={lags.at(-1)!.title} bars={lags} />
        </>
      )}
      {parked > 0 && (
        <>
          <h2>{counted(parked, 'event')} set aside</h2>
          <ul class="plain">
            {parkedEvents.map(({ stream, revision, type, failure }) => (
              <li key={placeOf({ stream, revision })}>
                <a class="name" href={linkTo('stream', stream, { event: placeOf({ stream, revision }) })}>
                  <Text value={type} />
                </a>{' '}
                <span class="lead">
                  of <Text value={stream} />, revision {revision}
                </span>
                <Why failure={failure} />
              </li>
            ))}
          </ul>
        </>
      )}
      {timers.length > 0 && <Timers timers={timers} />}
      {kind === 'reaction' && timers.length === 0 && <p class="lead">It has no timer.</p>}
    </>
  )
}

function Fact({ name, children }: { readonly name: string; readonly children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  )
}

function Why({ failure }: { readonly failure: FollowerFailure }) {
  const { message, code, attempts, time, event, timer } = failure
  return (
    <div class="failed">
      <p class="wrapped">
        <Text value={message} />
      </p>
      <p class="failed-foot">
        {code !== undefined && <code>{code}</code>} {counted(attempts, 'attempt')}, the last at{' '}
        <Time iso={time} />
        {event && (
          <a href={linkTo('stream', event.stream, { event: placeOf(event) })}>
            revision {event.revision} of <Text value={event.stream} />
          </a>
        )}
        {timer !== undefined && (
          <span>
            timer <Text value={timer} />
          </span>
        )}
      </p>
    </div>
  )
}

/** Lets it try again, once that is confirmed; says afterwards where it was logged. */
function Unblock({ detail, reload }: { readonly detail: FollowerDetail; readonly reload: () => void }) {
  const { name, database, canUnblock } = detail
  const [isAsked, setAsked] = useState(false)
  const [isSending, setSending] = useState(false)
  const [reason, setReason] = useState('')
  const [done, setDone] = useState<Unblocked>()
  const [failure, setFailure] = useState<CallFailure>()
  const field = useRef<HTMLInputElement>(null)
  useLayoutEffect(() => {
    if (isAsked) field.current?.focus()
  }, [isAsked])
  const send = async () => {
    setSending(true)
    setFailure(undefined)
    try {
      setDone(
        await call('unblock', { name, database, ...(reason.trim() !== '' && { reason: reason.trim() }) }),
      )
      setAsked(false)
      setReason('')
      reload()
    } catch (error) {
      setFailure(failureOf(error))
    }
    setSending(false)
  }
  return (
    <>
      {done && (
        <p role="status">
          {done.wasBlocked
            ? 'It may try again, which its program sees within seconds.'
            : 'It was not blocked any more.'}{' '}
          <a href={linkTo('stream', done.logged.stream, { event: placeOf(done.logged) })}>Logged</a>
        </p>
      )}
      {canUnblock && !isAsked && (
        <p>
          <button type="button" class="button" onClick={() => setAsked(true)}>
            Let it try again…
          </button>
        </p>
      )}
      {canUnblock && isAsked && (
        <form
          class="bar"
          onSubmit={(event) => {
            event.preventDefault()
            if (!isSending) void send()
          }}
        >
          <Field name="Why (for the log)" grow>
            <input
              ref={field}
              value={reason}
              maxLength={1_000}
              onInput={({ currentTarget: { value } }) => setReason(value)}
            />
          </Field>
          <button type="submit" class="button primary" disabled={isSending}>
            Unblock it
          </button>
          <button type="button" class="button" onClick={() => setAsked(false)}>
            Cancel
          </button>
        </form>
      )}
      {failure && <Failed failure={failure} />}
    </>
  )
}

function Timers({ timers }: Pick<FollowerDetail, 'timers'>) {
  return (
    <>
      <h2>Timers</h2>
      <ul class="plain">
        {timers.map(({ timer, due, state, command, input, event, failure }) => (
          <li key={`${timer} ${placeOf(event)}`}>
            <span class={state === 'parked' ? 'chip danger' : 'chip'}>{state}</span> <Time iso={due} />{' '}
            <span class="name">
              <Text value={timer} />
            </span>
            <br />
            <span class="lead">
              <Text value={command} />, set by{' '}
              <a href={linkTo('stream', event.stream, { event: placeOf(event) })}>
                revision {event.revision} of <Text value={event.stream} />
              </a>
            </span>
            <JsonView shown={input} />
            {failure && <Why failure={failure} />}
          </li>
        ))}
      </ul>
    </>
  )
}
