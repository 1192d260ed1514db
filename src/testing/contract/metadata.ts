import assert from 'node:assert/strict'
import { InvalidDataError } from '../../base/errors.ts'
import type { Metadata } from '../../model/metadata.ts'
import { drain, everything, failureOf, nothingWritten } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happened, happenings } from './sample-events.ts'

/** W6 for what is known of an append beside its data. */
export function metadata(prove: Prove): void {
  prove('W6: metadata reads as it was written, on each event of its append', async (store) => {
    const given: Metadata = {
      correlation: 'c-1',
      causation: 'e-1',
      actor: `O'Hara "\\%_`,
      ключ: '😀 \u0000 \uD800 \n',
      constructor: 'x',
      toString: 'y',
      ' ': '',
    }
    const { events } = await store.append({ stream: 'a', events: happenings(2) }, { metadata: given })
    for (const event of [...events, ...(await drain(store.read('a'))), ...(await everything(store))]) {
      assert.deepEqual({ ...event.metadata }, given)
    }
  })

  prove('W6: events have no metadata if none was given', async (store) => {
    await store.append({ stream: 'a', events: [happened(0)] })
    await store.append({ stream: 'a', events: [happened(1)] }, { metadata: {} })
    for (const event of await drain(store.read('a'))) assert.deepEqual(event.metadata, {})
  })

  prove('W6: undefined properties of metadata are left out', async (store) => {
    const given = { actor: undefined, correlation: 'c' } as unknown as Metadata
    const { events } = await store.append({ stream: 'a', events: [happened(0)] }, { metadata: given })
    for (const event of [...events, ...(await drain(store.read('a')))]) {
      assert.deepEqual(event.metadata, { correlation: 'c' })
    }
  })

  prove('W6: metadata that is not text, or whose name some store refuses, is refused', async (store) => {
    const values: unknown[] = [1, null, true, {}, ['x'], 1n, Symbol('s'), new Date(0), () => 'x']
    const keys = ['', '$correlationId', JSON.parse('{"__proto__":"x"}') as object]
    const refused = [
      ...values.map((value) => ({ actor: value })),
      ...keys.map((key) => (typeof key === 'string' ? { [key]: 'x' } : key)),
    ] as Metadata[]
    await nothingWritten(store, async () => {
      for (const given of refused) {
        const { subject, issues } = await failureOf(InvalidDataError, () =>
          store.append({ stream: 'a', events: [happened(0)] }, { metadata: given }),
        )
        assert.equal(subject, 'metadata')
        assert.match(issues[0]?.path ?? '', /^metadata\./)
      }
    })
  })
}
