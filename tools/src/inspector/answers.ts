import { isMnemeError } from 'mneme'

import { messageOf } from '../cli/errors.ts'
import type { Problem } from './api.ts'
import { CallError } from './call.ts'

/**
 * What every answer has. Scripts and styles come from files of the inspector itself; nothing is evaluated, sent elsewhere or
 * kept, and no page frames it.
 */
const HEADERS = {
  'Cache-Control': 'no-store',
  'Content-Security-Policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=()',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
} as const

const JSON_TYPE = 'application/json; charset=utf-8'

/** An answer with the headers that every one has. */
export function answer(
  body: ConstructorParameters<typeof Response>[0],
  type: string,
  { status = 200, headers = {} }: { status?: number; headers?: Readonly<Record<string, string>> } = {},
): Response {
  return new Response(body, { status, headers: { ...HEADERS, 'Content-Type': type, ...headers } })
}

/** An answer to a call. */
export function json(value: unknown): Response {
  return answer(JSON.stringify(value), JSON_TYPE)
}

/** An answer that says why there is none. */
export function problem(
  { status, code, message }: { readonly status: number; readonly code: string; readonly message: string },
  headers: Readonly<Record<string, string>> = {},
): Response {
  return answer(JSON.stringify({ error: { code, message } } satisfies Problem), JSON_TYPE, {
    status,
    headers,
  })
}

/** The answer to a call that failed. A person on duty may see what went wrong, but no password. */
export function problemOf(error: unknown): Response {
  const message = messageOf(error)
  if (error instanceof CallError) return problem({ status: error.status, code: error.code, message })
  if (!isMnemeError(error)) return problem({ status: 500, code: 'FAILED', message })
  const status = STATUS[error.code] ?? (error.isRetryable ? 503 : 500)
  return problem({ status, code: error.code, message })
}

const STATUS: Readonly<Record<string, number>> = {
  INVALID_ARGUMENT: 400,
  INVALID_DATA: 400,
  LIMIT_EXCEEDED: 400,
  STORE_CLOSED: 503,
  STREAM_DELETED: 410,
  STREAM_TRUNCATED: 410,
  UNSUPPORTED: 501,
}
