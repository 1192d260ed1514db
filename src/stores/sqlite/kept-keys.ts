import { nextTurn } from '../../base/clock.ts'
import { formatPosition, parsePosition } from '../../adapter/position.ts'
import type { Position } from '../../base/revision.ts'
import type { KeptKey, KeyUse } from '../../adapter/store-adapter.ts'
import type { Connection } from './connection.ts'
import { retryBusy } from './errors.ts'
import { isTurnDue } from './event-loop.ts'

/** The idempotency keys that are kept, in pages. There is no index of their positions, so a page looks at all keys. */
export async function* keysPages(
  connection: Connection,
  after: Position | undefined,
  timeout: number,
): AsyncGenerator<KeptKey[], undefined> {
  let last: readonly [position: number, key: string] = [
    after === undefined ? 0 : parsePosition(after),
    LAST_KEY,
  ]
  for (;;) {
    if (isTurnDue()) await nextTurn()
    const values = [...last, PAGE_KEYS]
    const rows = await retryBusy(
      () => connection.reading(() => connection.prepare(SELECT).all(...values) as Row[]),
      timeout,
    )
    const end = rows.at(-1)
    if (!end) return undefined
    yield rows.map(({ key, fingerprint, position, count, heads }) => ({
      ...{ key, fingerprint, from: formatPosition(position), through: formatPosition(position + count - 1) },
      streams: (JSON.parse(heads) as KeyUse['heads']).map(([stream]) => stream),
    }))
    last = [end.position, end.key]
  }
}

interface Row {
  readonly key: string
  readonly fingerprint: string
  readonly position: number
  readonly count: number
  readonly heads: string
}

const SELECT =
  'SELECT key, fingerprint, position, count, heads FROM mneme_keys WHERE (position, key) > (?, ?) ORDER BY position, key LIMIT ?'
/** Behind all keys of a position. */
const LAST_KEY = '\u{10FFFF}'
const PAGE_KEYS = 10_000
