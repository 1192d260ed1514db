import { whole } from './format.ts'
import type { Tally } from './tally.ts'

/**
 * Shows on stderr how far a run is: a line rewritten on a terminal, else one line every few seconds. Returns
 * what ends it. (stdout is for the report alone.)
 */
export function showProgress(tally: Tally, started: number): () => void {
  const { isTTY } = process.stderr
  const show = () => {
    const seconds = (performance.now() - started) / 1000
    const text = `${whole(tally.lines)} lines, ${whole(tally.lines / seconds)} a second`
    process.stderr.write(isTTY ? `\r\x1b[K${text}` : `${text}\n`)
  }
  const timer = setInterval(show, isTTY ? 100 : 2_000)
  return () => {
    clearInterval(timer)
    if (isTTY) process.stderr.write('\r\x1b[K')
  }
}
