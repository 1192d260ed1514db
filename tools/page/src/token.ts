const KEY = 'mneme-inspector-token'

/**
 * Takes the token out of the address, behind `#token=`, and keeps it. A page of another origin, also of another port of this
 * machine, cannot read it there, and no browser sends it by itself.
 */
export function takeToken(): void {
  const { hash, pathname, search } = location
  if (!hash.startsWith('#token=')) return
  const [token = '', ...route] = hash.slice('#token='.length).split('&')
  keepToken(token)
  // The address may be copied and shared: it must not hold the token.
  history.replaceState(null, '', `${pathname}${search}#${route.join('&')}`)
}

export function keepToken(token: string): void {
  try {
    localStorage.setItem(KEY, token)
  } catch {
    // A browser that keeps nothing: the token counts until the page is loaded again.
  }
  held = token
}

export function tokenHeader(): Record<string, string> {
  const token = held ?? stored()
  return token === null ? {} : { Authorization: `Bearer ${token}` }
}

let held: string | undefined

function stored(): string | null {
  try {
    return localStorage.getItem(KEY)
  } catch {
    return null
  }
}
