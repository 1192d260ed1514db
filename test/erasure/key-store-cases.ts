import { subject } from 'mneme'
import type { KeyStore } from 'mneme/adapter'
import { expect, test } from 'vitest'
import { ringOf } from './customers.ts'

/** What every key store keeps to. @param open opens the same keys again, as another process would. */
export function keyStoreCases(open: () => Promise<{ keys: KeyStore; again: () => KeyStore }>): void {
  const key = (subject: string, text = 'a2V5') => ({ subject, key: text, wrappedBy: 'k1' })
  const at = '2026-01-02T03:04:05.678Z'

  test('a key is kept once: of several that are put at once, all callers get the same one', async () => {
    const { keys, again } = await open()
    const other = again()
    const put = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 ? keys : other).put(key('a', `key${String(i)}`))),
    )
    expect(new Set(put.map((entry) => JSON.stringify(entry))).size).toBe(1)
    expect(await other.get(['a', 'b'])).toEqual([put[0]])
  })

  test('a tombstone stays for good, and no key takes its place', async () => {
    const { keys, again } = await open()
    await keys.put(key('a'))
    const tombstone = { subject: 'a', erasedAt: at }
    expect(await keys.destroy(tombstone)).toEqual(tombstone)
    const other = again()
    expect(await other.destroy({ subject: 'a', erasedAt: '2030-01-01T00:00:00.000Z' })).toEqual(tombstone)
    expect(await other.put(key('a', 'new'))).toEqual(tombstone)
    expect(await other.put(key('a', 'new'), key('a'))).toEqual(tombstone)
    expect(await other.get(['a'])).toEqual([tombstone])
  })

  test('an erasure says whether there was a key', async () => {
    const { keys } = await open()
    const ring = ringOf(keys)
    const [known, unknown] = [subject('customer', 'known'), subject('customer', 'unknown')]
    await ring.seal([{ text: '"x"', subject: known, id: crypto.randomUUID(), path: 'email' }])
    const outcomes = []
    for (const one of [known, known, unknown, unknown]) {
      outcomes.push((await ring.destroy(ring.hashOf(one), at)).outcome)
    }
    expect(outcomes).toEqual(['erased', 'already-erased', 'unknown-subject', 'already-erased'])
  })

  test('a subject without a key can be destroyed', async () => {
    const { keys } = await open()
    await keys.destroy({ subject: 'a', erasedAt: at })
    expect(await keys.put(key('a'))).toEqual({ subject: 'a', erasedAt: at })
  })

  test('a key is replaced only if it still is the one that was read', async () => {
    const { keys } = await open()
    await keys.put(key('a', 'one'))
    expect(await keys.put({ ...key('a', 'two'), wrappedBy: 'k2' }, key('a', 'one'))).toEqual({
      ...key('a', 'two'),
      wrappedBy: 'k2',
    })
    expect(await keys.put(key('a', 'three'), key('a', 'one'))).toMatchObject({ key: 'two' })
  })

  test('keys and tombstones are listed page by page, in the order of their subjects', async () => {
    const { keys } = await open()
    for (const subject of ['c', 'a', 'b', 'd']) await keys.put(key(subject))
    await keys.destroy({ subject: 'b', erasedAt: at })
    expect(await keys.list(undefined, 2)).toEqual([key('a'), { subject: 'b', erasedAt: at }])
    expect(await keys.list('b', 5)).toEqual([key('c'), key('d')])
    expect(await keys.list('d', 5)).toEqual([])
    expect(await keys.get([])).toEqual([])
  })
}
