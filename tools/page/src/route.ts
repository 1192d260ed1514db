import { useEffect, useState } from 'preact/hooks'

/** Where the page is: all of it stands in the address, behind the `#`, which no server sees. */
export interface Route {
  readonly page: string
  /** What is looked at: the name of a stream, for example. */
  readonly subject: string | undefined
  readonly params: Params
}

export type Params = Readonly<Record<string, string>>

/** The route of the present address. */
function readRoute(): Route {
  const [path, query] = split(location.hash.slice(1), '?')
  const [page, subject] = split(path.replace(/^\//, ''), '/')
  return {
    page,
    subject: subject === undefined ? undefined : decode(subject),
    params: Object.fromEntries(new URLSearchParams(query)),
  }
}

/** The link to a route. Parameters that are empty are left out. */
export function linkTo(
  page: string,
  subject?: string,
  params: Readonly<Record<string, string | number | undefined>> = {},
): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== '') query.set(name, String(value))
  }
  const text = query.toString()
  const behind = subject === undefined ? '' : `/${encodeURIComponent(subject)}`
  return `#/${page}${behind}${text === '' ? '' : `?${text}`}`
}

/** Goes to a link; with `replace` the browser does not keep the place before it. */
export function go(link: string, { replace = false } = {}): void {
  if (replace) {
    history.replaceState(null, '', link)
    dispatchEvent(new HashChangeEvent('hashchange'))
  } else location.hash = link
}

/** The present route; the component is drawn again when it changes. */
export function useRoute(): Route {
  const [route, setRoute] = useState(readRoute)
  useEffect(() => {
    const changed = () => setRoute(readRoute())
    addEventListener('hashchange', changed)
    return () => removeEventListener('hashchange', changed)
  }, [])
  return route
}

/** Both parts of a text, before and behind the first separator. */
function split(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator)
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + separator.length)]
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
