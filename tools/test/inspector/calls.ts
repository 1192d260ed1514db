import type { Calls, Problem } from '../../src/inspector/api.ts'
import { type Inspector, type InspectorOptions, inspectorWith } from '../../src/inspector/inspector.ts'

/** A page for tests of the server, which do not need the real one. */
const PAGE = { 'index.html': { type: 'text/html; charset=utf-8', text: '<!doctype html>' } }

/** An inspector whose page is a stand-in. */
export function inspect(options: InspectorOptions): Inspector {
  return inspectorWith(options, () => Promise.resolve(PAGE))
}

export const ORIGIN = 'http://localhost:4711'

/** A call as the page sends it. */
export function callOf(
  inspector: Inspector,
  name: string,
  input: unknown,
  headers: Readonly<Record<string, string>> = {},
): Request {
  return new Request(`${ORIGIN}/api/${name}`, {
    method: 'POST',
    body: JSON.stringify(input),
    headers: {
      'Content-Type': 'application/json',
      Origin: ORIGIN,
      'Sec-Fetch-Site': 'same-origin',
      ...(inspector.token !== undefined && { Authorization: `Bearer ${inspector.token}` }),
      ...headers,
    },
  })
}

/** Calls the server, and expects an answer. */
export async function ask<Name extends keyof Calls>(
  inspector: Inspector,
  name: Name,
  input: Calls[Name]['in'],
): Promise<Calls[Name]['out']> {
  const response = await inspector.fetch(callOf(inspector, name, input))
  const answer = (await response.json()) as Calls[Name]['out'] | Problem
  if (response.ok) return answer as Calls[Name]['out']
  const { code, message } = (answer as Problem).error
  throw new Error(`${response.status} ${code}: ${message}`)
}
