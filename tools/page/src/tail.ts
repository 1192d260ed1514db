import { useEffect, useRef, useState } from 'preact/hooks'

import type { Calls, EventRow } from '../../src/inspector/api.ts'
import { call, type CallFailure, failureOf } from './calls.ts'

/** What a page that follows the log shows. */
export interface Tailing {
  /** The last events, newest first. */
  readonly rows: readonly EventRow[] | undefined
  /** How many events were appended while the page followed. */
  readonly passed: number
  readonly perSecond: number
  /** Whether the page could not follow, and has left out what lies between. */
  readonly hasLeft: boolean
  readonly failure: CallFailure | undefined
}

type Query = Omit<Calls['tail']['in'], 'after'>

const MAX_ROWS = 100
const POLL_MS = 500
const RETRY_MS = 2_000
/** The rate is that of so many milliseconds. */
const WINDOW_MS = 5_000
/** So many answers in a row with more behind them: nobody reads that, and the store has better things to do. */
const MAX_BEHIND = 5

const NOTHING: Tailing = { rows: undefined, passed: 0, perSecond: 0, hasLeft: false, failure: undefined }

/** Follows the log while the page is seen: a few hundred events at a time, however many there are. */
export function useTail(query: Query, isPaused: boolean): Tailing {
  const [tailing, setTailing] = useState(NOTHING)
  const after = useRef<string | null | undefined>(undefined)
  const key = JSON.stringify(query)
  useEffect(() => {
    after.current = undefined
    setTailing(NOTHING)
  }, [key])
  useEffect(() => {
    if (isPaused) return undefined
    const ending = new AbortController()
    void follow(ending.signal)
    return () => ending.abort()
  }, [key, isPaused])

  const follow = async (signal: AbortSignal): Promise<void> => {
    const samples = [{ time: performance.now(), count: 0 }]
    let behind = 0
    for (;;) {
      const isFirst = after.current === undefined
      try {
        const from = isFirst ? {} : { after: after.current! }
        const answer = await call('tail', { ...(JSON.parse(key) as Query), ...from }, signal)
        behind = answer.isBehind ? behind + 1 : 0
        const isLeft = behind === MAX_BEHIND
        after.current = isLeft ? undefined : answer.after
        samples.push({ time: performance.now(), count: answer.passed })
        while (samples.length > 2 && samples[1]!.time < performance.now() - WINDOW_MS) samples.shift()
        setTailing(({ rows = [], passed, hasLeft }) => ({
          rows: [...answer.events.toReversed(), ...(isFirst ? [] : rows)].slice(0, MAX_ROWS),
          passed: passed + answer.passed,
          perSecond: rateOf(samples),
          hasLeft: hasLeft || isLeft,
          failure: undefined,
        }))
        if (!answer.isBehind) await pause(POLL_MS, signal)
      } catch (error) {
        if (signal.aborted) return
        setTailing((tailing) => ({ ...tailing, failure: failureOf(error) }))
        await pause(RETRY_MS, signal)
      }
    }
  }
  return tailing
}

/** Events a second. The first sample is where the window begins. */
function rateOf(samples: readonly { readonly time: number; readonly count: number }[]): number {
  const seconds = (samples.at(-1)!.time - samples[0]!.time) / 1_000
  const count = samples.slice(1).reduce((sum, { count }) => sum + count, 0)
  return seconds > 0 ? count / seconds : 0
}

/** Waits, and for as long as nobody sees the page. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms))
  while (document.hidden && !signal.aborted) {
    await new Promise((resolve) => document.addEventListener('visibilitychange', resolve, { once: true }))
  }
}
