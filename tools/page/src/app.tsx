import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'

import type { About } from '../../src/inspector/api.ts'
import { type Called, useCall } from './calls.ts'
import { LanesPage } from './pages/lanes.tsx'
import { LivePage } from './pages/live.tsx'
import { LogPage } from './pages/log.tsx'
import { StreamPage } from './pages/stream.tsx'
import { StreamsPage } from './pages/streams.tsx'
import { ThroughputPage } from './pages/throughput.tsx'
import { TracePage } from './pages/trace.tsx'
import { TryPage } from './pages/try.tsx'
import { linkTo, type Route, useRoute } from './route.ts'
import { keepToken } from './token.ts'
import { Empty, Failed } from './ui/notes.tsx'
import { Text, visible } from './ui/text.tsx'

/** A page, by the first part of its address. */
interface Page {
  readonly title: string
  /** Its heading in the navigation; absent: it is reached from another page. */
  readonly group?: string
  readonly show: (props: PageProps) => ComponentChildren
}

/** What every page is given. */
export interface PageProps {
  readonly about: About
  readonly route: Route
}

const PAGES: Readonly<Record<string, Page>> = {
  streams: { title: 'Streams', group: 'History', show: (props) => <StreamsPage {...props} /> },
  stream: { title: 'Stream', show: (props) => <StreamPage key={props.route.subject} {...props} /> },
  log: { title: 'Log', group: 'History', show: (props) => <LogPage {...props} /> },
  live: { title: 'Live', group: 'History', show: (props) => <LivePage {...props} /> },
  trace: { title: 'Causes and effects', group: 'History', show: (props) => <TracePage {...props} /> },
  lanes: { title: 'Time axis', group: 'History', show: (props) => <LanesPage {...props} /> },
  throughput: { title: 'Throughput', group: 'History', show: (props) => <ThroughputPage {...props} /> },
  try: { title: 'Try a command', group: 'Program', show: (props) => <TryPage {...props} /> },
}
const HOME = 'streams'

export function App() {
  const called = useCall('about', {})
  const route = useRoute()
  const name = route.page === '' ? HOME : route.page
  const page = Object.hasOwn(PAGES, name) ? PAGES[name] : undefined
  const place = useRef<HTMLElement>(null)
  const title = route.subject ?? page?.title ?? 'Not found'
  useEffect(() => {
    document.title = `${visible(title)} · ${visible(called.data?.name ?? 'Mneme inspector')}`
  }, [title, called.data?.name])
  // Whoever follows a link by keyboard, or hears the page, goes on at the new page.
  const isFirst = useRef(true)
  useEffect(() => {
    if (!isFirst.current) place.current?.focus({ preventScroll: true })
    isFirst.current = false
    scrollTo(0, 0)
  }, [name, route.subject])
  return (
    <div class="shell">
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault()
          place.current?.focus()
        }}
      >
        Skip to the page
      </a>
      <Navigation called={called} current={name} />
      <main ref={place} id="main" tabIndex={-1}>
        {called.failure?.code === 'UNAUTHORIZED' ? (
          <SignIn called={called} />
        ) : called.failure ? (
          <Failed failure={called.failure} retry={called.reload} />
        ) : called.data === undefined ? (
          <p class="loading">Loading…</p>
        ) : page ? (
          page.show({ about: called.data, route })
        ) : (
          <>
            <h1>Not found</h1>
            <Empty title="There is no such page">
              <a href={linkTo(HOME)}>Go to the streams</a>
            </Empty>
          </>
        )}
      </main>
    </div>
  )
}

function Navigation({ called, current }: { readonly called: Called<About>; readonly current: string }) {
  const listed = Object.entries(PAGES).filter(([, { group }]) => group !== undefined)
  const groups = [...new Set(listed.map(([, { group }]) => group))]
  return (
    <header class="side">
      <a class="brand" href={linkTo(HOME)}>
        <img src="./icon.svg" alt="" width="22" height="22" />
        <span class="brand-name">{called.data ? <Text value={called.data.name} /> : 'Mneme'}</span>
      </a>
      <nav aria-label="Pages">
        {groups.map((group) => (
          <div class="nav-group" key={group}>
            <p class="nav-title" id={`nav-${String(group)}`}>
              {group}
            </p>
            <ul aria-labelledby={`nav-${String(group)}`}>
              {listed
                .filter(([, page]) => page.group === group)
                .map(([name, { title }]) => {
                  const isHere = name === current || (name === 'streams' && current === 'stream')
                  return (
                    <li key={name}>
                      <a href={linkTo(name)} aria-current={isHere ? 'page' : undefined}>
                        {title}
                      </a>
                    </li>
                  )
                })}
            </ul>
          </div>
        ))}
      </nav>
      <p class="side-foot">{called.data && (called.data.write ? 'Actions are allowed' : 'Reads only')}</p>
    </header>
  )
}

function SignIn({ called }: { readonly called: Called<About> }) {
  const [token, setToken] = useState('')
  return (
    <div class="narrow">
      <h1>Open the link that was printed</h1>
      <p>
        {called.failure && <Text value={called.failure.message} />}. It ends with <code>#token=…</code>. Or
        give the token here:
      </p>
      <form
        class="bar"
        onSubmit={(event) => {
          event.preventDefault()
          keepToken(token.trim().replace(/^.*token=/, ''))
          called.reload()
        }}
      >
        <label class="field grow">
          <span class="field-name">Token</span>
          <input
            type="password"
            autocomplete="off"
            value={token}
            onInput={(event) => setToken(event.currentTarget.value)}
          />
        </label>
        <button class="button primary" type="submit">
          Open
        </button>
      </form>
    </div>
  )
}
