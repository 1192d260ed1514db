import { createHash, timingSafeEqual } from 'node:crypto'

/** Who may ask, and under which name. */
export interface Guard {
  /** Names of hosts under which the inspector is reached, with or without a port. */
  readonly hosts: readonly string[]
  /** The token that each call has to bring, or the program's own guard. */
  readonly access: { readonly token: string } | { readonly authorize: Authorize }
}

/** Decides whether a request may see the inspector. */
export type Authorize = (request: Request) => boolean | Promise<boolean>

/** Why a request is refused. */
export interface Refusal {
  readonly status: number
  readonly code: string
  readonly message: string
}

/** The names that a machine has for itself. */
export const LOOPBACK_HOSTS: readonly string[] = ['localhost', '127.0.0.1', '[::1]']

/**
 * Refuses what another page can send: under a name of its own that leads to this machine (DNS rebinding), or from its own
 * origin.
 */
export function refuseForeign(request: Request, { hosts }: Guard): Refusal | undefined {
  const { host, hostname } = new URL(request.url)
  if (!hosts.includes(host) && !hosts.includes(hostname)) {
    const message = `the inspector does not know itself as '${hostname.slice(0, 200)}': add the name to its option 'hosts'`
    return { status: 421, code: 'UNKNOWN_HOST', message }
  }
  const site = request.headers.get('Sec-Fetch-Site')
  const origin = request.headers.get('Origin')
  // A link that somebody follows: it gets the page, which holds nothing, and no call.
  const isLink = request.method === 'GET' && request.headers.get('Sec-Fetch-Mode') === 'navigate'
  const isForeignSite = site !== null && site !== 'same-origin' && site !== 'none' && !isLink
  const isForeignOrigin = origin !== null && !isOf(host, origin)
  if (!isForeignSite && !isForeignOrigin) return undefined
  return { status: 403, code: 'FOREIGN_ORIGIN', message: 'the inspector answers only its own page' }
}

/** Refuses a request without the token, or one that the program's guard refuses. */
export async function refuseStranger(request: Request, { access }: Guard): Promise<Refusal | undefined> {
  const isKnown = 'token' in access ? hasToken(request, access.token) : await access.authorize(request)
  if (isKnown) return undefined
  const message =
    'token' in access
      ? 'the token is missing, or belongs to an earlier run: open the link that the inspector printed when it started'
      : 'you may not see the inspector: sign in first'
  return { status: 401, code: 'UNAUTHORIZED', message }
}

function hasToken(request: Request, token: string): boolean {
  const [, given] = /^Bearer (\S+)$/.exec(request.headers.get('Authorization') ?? '') ?? []
  return given !== undefined && isSame(given, token)
}

/** The scheme is not compared: a proxy in front may speak another one. */
function isOf(host: string, origin: string): boolean {
  return URL.canParse(origin) && new URL(origin).host === host
}

/** Compares in a time that says nothing of where they differ. */
function isSame(a: string, b: string): boolean {
  const [left, right] = [a, b].map((text) => createHash('sha256').update(text).digest())
  return timingSafeEqual(left!, right!)
}
