import type { StoredEvent } from '../adapter/store-adapter.ts'
import { SealBrokenError } from '../base/errors.ts'
import { Erased, mapSealed, type Revealed } from '../model/revealed.ts'
import type { KeyRing } from './key-ring.ts'

/** Reveals values whose sealed texts were opened before. */
export type Revealing = <T>(value: T) => Revealed<T>

/** Opens sealed texts, all at once. @throws KeyStoreError, SealBrokenError */
export async function revealing(ring: KeyRing, texts: Iterable<string>): Promise<Revealing> {
  const list = [...new Set(texts)]
  const opened = list.length === 0 ? [] : await ring.open(list)
  const found = new Map(list.map((text, i) => [text, opened[i]!]))
  return <T>(value: T) =>
    mapSealed(value, (text) => {
      const one = found.get(text)
      if (!one) throw new SealBrokenError('this sealed value is of no event at hand, so it was not opened')
      return 'erasedAt' in one ? new Erased(one.erasedAt) : one.value
    }) as Revealed<T>
}

/** The sealed texts in the data of stored events, found without parsing them. */
export function* sealedTextsIn(events: readonly StoredEvent[]): Generator<string> {
  for (const { data } of events) {
    // In a text, the quotes would be escaped.
    for (const [, text] of data.matchAll(/\{"\$sealed":("(?:[^"\\]|\\.)*")\}/g))
      yield JSON.parse(text!) as string
  }
}
