import { useEffect, useRef, useState } from 'preact/hooks'

import type { EventPlace, TrialResult } from '../../../src/inspector/api.ts'
import type { PageProps } from '../app.tsx'
import { call, type CallFailure, failureOf } from '../calls.ts'
import { go, linkTo } from '../route.ts'
import { Changes } from '../ui/changes.tsx'
import { placeIn } from '../ui/event-list.tsx'
import { counted, hueOf, Time } from '../ui/format.tsx'
import { JsonView } from '../ui/json-view.tsx'
import { Empty, Failed } from '../ui/notes.tsx'
import { hasForm, JsonBox, SchemaFields } from '../ui/schema-form.tsx'
import { Text } from '../ui/text.tsx'

/** Tries a command on the present, or on any point of the past. */
export function TryPage({ about, route }: PageProps) {
  const { command, at, input } = route.params
  const chosen = about.commands.find(({ name }) => name === command) ?? about.commands[0]
  if (!chosen) {
    return (
      <>
        <h1>Try a command</h1>
        <Empty title="The inspector knows no command of the program">
          Start it with <code>--model FILE</code>, a module that exports the program’s commands, or give{' '}
          <code>createInspector</code> its <code>commands</code>.
        </Empty>
      </>
    )
  }
  const place = placeIn(at)
  const link = (params: object) => linkTo('try', undefined, { command: chosen.name, at, ...params })
  return (
    <>
      <h1>Try a command</h1>
      <p class="lead">
        The command is decided as it would have been at that moment. Nothing is appended, whatever it decides.
      </p>
      <div class="bar">
        <label class="field">
          <span class="field-name">Command</span>
          <select
            value={chosen.name}
            onChange={({ currentTarget: { value } }) => go(linkTo('try', undefined, { command: value, at }))}
          >
            {about.commands.map(({ name }) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <div class="field line">
          <span class="field-name">Decided</span>
          <p class="field-text">
            {place ? (
              <>
                after revision {place.revision} of{' '}
                <a class="name" href={linkTo('stream', place.stream, { tab: 'state', at: place.revision })}>
                  <Text value={place.stream} />
                </a>{' '}
                <a class="button small" href={link({ at: undefined, input })}>
                  Decide on the present
                </a>
              </>
            ) : (
              'on the present. To go back, choose an event of a stream.'
            )}
          </p>
        </div>
      </div>
      <Trial
        key={chosen.name}
        command={chosen}
        place={place}
        input={input}
        onTry={(input) =>
          go(link({ input: input.length > MAX_INPUT ? undefined : input }), { replace: true })
        }
      />
    </>
  )
}

/** Characters of an input that an address may have. */
const MAX_INPUT = 4_000

function Trial({
  command,
  place,
  input,
  onTry,
}: {
  readonly command: PageProps['about']['commands'][number]
  readonly place: EventPlace | undefined
  readonly input: string | undefined
  readonly onTry: (input: string) => void
}) {
  const { name, schema } = command
  const [value, setValue] = useState<unknown>(() => parse(input))
  const form = schema && hasForm(schema) ? schema : undefined
  const [isJson, setJson] = useState(!form)
  const [result, setResult] = useState<TrialResult>()
  const [failure, setFailure] = useState<CallFailure>()
  const [isTrying, setTrying] = useState(false)
  const stop = useRef(new AbortController())
  const run = (value: unknown) => {
    stop.current.abort()
    const { signal } = (stop.current = new AbortController())
    setTrying(true)
    call('try', { command: name, with: value, ...(place && { at: place }) }, signal)
      .then(
        (result) => {
          setResult(result)
          setFailure(undefined)
        },
        (error: unknown) => {
          if (!signal.aborted) setFailure(failureOf(error))
        },
      )
      .finally(() => {
        if (!signal.aborted) setTrying(false)
      })
  }
  const at = place && `${String(place.revision)}@${place.stream}`
  // A link with an input shows what comes of it; so does another point of the past.
  useEffect(() => {
    if (input !== undefined) run(parse(input))
    return () => stop.current.abort()
  }, [at])
  return (
    <div class="halves">
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault()
          onTry(JSON.stringify(value ?? {}))
          run(value ?? {})
        }}
      >
        <div class="toolbar">
          <h2>Its input</h2>
          {form && (
            <button type="button" class="button small" onClick={() => setJson(!isJson)}>
              {isJson ? 'As a form' : 'As JSON'}
            </button>
          )}
        </div>
        {isJson || !form ? (
          <>
            {!form && (
              <p class="lead">
                The command has no schema of which a form could be made: write its input as JSON.
              </p>
            )}
            <JsonBox label="Its input" value={value} rows={8} onChange={setValue} />
          </>
        ) : (
          <SchemaFields schema={form} value={value} onChange={setValue} />
        )}
        <p class="actions">
          <button type="submit" class="button primary" disabled={isTrying}>
            Try
          </button>
        </p>
      </form>
      <section aria-live="polite" aria-busy={isTrying}>
        <h2>What it decides</h2>
        {failure ? (
          <Failed failure={failure} />
        ) : result ? (
          <div class={isTrying ? 'stale' : undefined}>
            <Outcome result={result} />
          </div>
        ) : (
          <p class="lead">Fill in the input and try it.</p>
        )}
      </section>
    </div>
  )
}

function Outcome({ result }: { readonly result: TrialResult }) {
  const moment = result.at && (
    <>
      , as of <Time iso={result.at.time} />
    </>
  )
  switch (result.outcome) {
    case 'accepted':
      return (
        <>
          <p>
            <span class="chip good">accepted</span> {counted(result.events.length, 'event')}
            {moment}
          </p>
          <ul class="events tried">
            {result.events.map((event) => (
              <li class="event open" key={`${String(event.revision)}@${event.stream}`}>
                <p class="tried-head">
                  <span class={`dot hue-${String(hueOf(event.type))}`} aria-hidden="true" />
                  <span class="name">
                    <Text value={event.type} />
                  </span>{' '}
                  <span class="lead">
                    on <Text value={event.stream} />, revision {event.revision}
                  </span>
                </p>
                <JsonView shown={event.data} />
              </li>
            ))}
          </ul>
          <h2>What would change</h2>
          <Changes
            changes={result.changes}
            isMore={result.isMore}
            nothing="Nothing of the states would change."
          />
          <h2>The states afterwards</h2>
          <JsonView shown={result.state} />
        </>
      )
    case 'rejected':
      return (
        <>
          <p>
            <span class="chip warn">rejected</span> by a rule of the domain{moment}
          </p>
          <JsonView shown={result.rejection} />
          <h2>The states that it saw</h2>
          <JsonView shown={result.state} />
        </>
      )
    case 'failed':
      return (
        <>
          <p>
            <span class="chip danger">failed</span> <Text value={result.error.name} />
            {moment}
          </p>
          <p class="wrapped">
            <Text value={result.error.message} />
          </p>
          {result.error.code !== undefined && (
            <p>
              <code>{result.error.code}</code>
            </p>
          )}
          {result.state && (
            <>
              <h2>The states that it saw</h2>
              <JsonView shown={result.state} />
            </>
          )}
        </>
      )
  }
}

function parse(input: string | undefined): unknown {
  try {
    return input === undefined ? undefined : (JSON.parse(input) as unknown)
  } catch {
    return undefined
  }
}
