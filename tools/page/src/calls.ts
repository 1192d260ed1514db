import { useEffect, useState } from 'preact/hooks'

import type { Calls, Problem } from '../../src/inspector/api.ts'
import { tokenHeader } from './token.ts'

/** A call was refused or failed, and the server said why. */
export class CallFailure extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** Sends a call. @throws CallFailure */
async function send(name: string, input: object, signal?: AbortSignal): Promise<Response> {
  let response: Response
  try {
    response = await fetch(`./api/${name}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...tokenHeader() },
      body: JSON.stringify(input),
      ...(signal && { signal }),
    })
  } catch (error) {
    if (signal?.aborted === true) throw error
    throw new CallFailure('UNREACHABLE', 'The inspector cannot be reached. Is it still running?')
  }
  if (response.ok) return response
  const answer = (await response.json().catch(() => undefined)) as Problem | undefined
  throw new CallFailure(
    answer?.error.code ?? 'FAILED',
    answer?.error.message ?? `The server answered with ${String(response.status)}.`,
  )
}

/** Calls the server. @throws CallFailure */
export async function call<Name extends keyof Calls>(
  name: Name,
  input: Calls[Name]['in'],
  signal?: AbortSignal,
): Promise<Calls[Name]['out']> {
  const response = await send(name, input, signal)
  return (await response.json()) as Calls[Name]['out']
}

/** What has come of a call. While a new one is under way, the answer to the last one stays. */
export interface Called<T> {
  readonly data: T | undefined
  readonly failure: CallFailure | undefined
  readonly isLoading: boolean
  readonly reload: () => void
}

/** Calls the server whenever the input changes; the call before it is given up. `undefined`: no call. */
export function useCall<Name extends keyof Calls>(
  name: Name,
  input: Calls[Name]['in'] | undefined,
): Called<Calls[Name]['out']> {
  const key = input === undefined ? undefined : JSON.stringify(input)
  const [round, setRound] = useState(0)
  const [result, setResult] = useState<Omit<Called<Calls[Name]['out']>, 'reload'>>({
    data: undefined,
    failure: undefined,
    isLoading: key !== undefined,
  })
  useEffect(() => {
    if (key === undefined) return undefined
    const giveUp = new AbortController()
    setResult(({ data }) => ({ data, failure: undefined, isLoading: true }))
    call(name, JSON.parse(key) as Calls[Name]['in'], giveUp.signal).then(
      (data) => setResult({ data, failure: undefined, isLoading: false }),
      (error: unknown) => {
        if (giveUp.signal.aborted) return
        setResult({ data: undefined, failure: failureOf(error), isLoading: false })
      },
    )
    return () => giveUp.abort()
  }, [name, key, round])
  return { ...result, reload: () => setRound((n) => n + 1) }
}

export function failureOf(error: unknown): CallFailure {
  if (error instanceof CallFailure) return error
  return new CallFailure('FAILED', error instanceof Error ? error.message : String(error))
}
