import { useEffect } from 'preact/hooks'

/** Does a work again and again while the page is seen, with a pause before each. */
export function useInterval(work: () => void, ms: number): void {
  useEffect(() => {
    const ending = new AbortController()
    const repeat = async () => {
      for (;;) {
        await pause(ms, ending.signal)
        if (ending.signal.aborted) return
        work()
      }
    }
    void repeat()
    return () => ending.abort()
  }, [])
}

/** Waits, and for as long as nobody sees the page. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms))
  while (document.hidden && !signal.aborted) {
    await new Promise((resolve) => document.addEventListener('visibilitychange', resolve, { once: true }))
  }
}
