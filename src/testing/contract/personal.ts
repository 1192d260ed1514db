import assert from 'node:assert/strict'
import { SubjectErasedError } from '../../base/errors.ts'
import { eraseSubject } from '../../erasure/erase.ts'
import { keyRing } from '../../erasure/key-ring.ts'
import { memoryKeys } from '../../erasure/memory-keys.ts'
import { isErased, reveal } from '../../erasure/reveal.ts'
import { wrappingKey } from '../../erasure/wrapping.ts'
import { execute } from '../../execution/execute.ts'
import { load } from '../../execution/load.ts'
import { defineAggregate } from '../../model/aggregate.ts'
import { defineCommand } from '../../model/command.ts'
import { erasures } from '../../model/erasures.ts'
import { event } from '../../model/event-spec.ts'
import { type Sealed, subject } from '../../model/sealed.ts'
import type { KeyRing } from '../../store/key-ring.ts'
import type { StoreAdapter } from '../../adapter/store-adapter.ts'
import { drain, everything, failureOf } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { upTo } from './sample-events.ts'

/** E1 to E3: personal data is sealed before the adapter is given it, and stays unreadable once its subject is erased. */
export function personal(prove: Prove): void {
  prove('E1: an adapter is given no personal value, and gives back none', async (_, realm) => {
    const given: unknown[] = []
    const watched = (adapter: StoreAdapter): StoreAdapter => ({
      ...adapter,
      append: (request, signal) => {
        given.push(request)
        return adapter.append(request, signal)
      },
    })
    const ring = testRing()
    const store = await realm.open(watched, { personal: ring })
    const { state } = await execute(store, write({ id: 'a', text: MARKER }))
    const other = await realm.open(undefined, { personal: ring })
    const stored = await drain(other.read(Person('a')))
    assert.equal(given.length, 1)
    for (const where of [given, state, stored, await everything(store)]) {
      assert.doesNotMatch(JSON.stringify(where), new RegExp(MARKER))
    }
    const loaded = await load(other, Person('a'))
    assert.deepEqual(loaded.state, state)
    assert.deepEqual(await reveal(other, loaded.state), { texts: [MARKER] })
  })

  prove(
    'E2: an erased subject stays unreadable after a restart, for every store, and no event of it comes in',
    async (_, realm) => {
      const ring = testRing()
      const store = await realm.open(undefined, { personal: ring })
      await execute(store, write({ id: 'a', text: MARKER }))
      await execute(store, write({ id: 'b', text: 'kept' }))
      const report = await eraseSubject(store, subject('person', 'a'), { reason: 'asked for' })
      await realm.restart()
      const again = await realm.open(undefined, { personal: ring })
      const erased = await reveal(again, (await load(again, Person('a'))).state)
      assert.ok(isErased(erased.texts[0]))
      assert.deepEqual(await reveal(again, (await load(again, Person('b'))).state), { texts: ['kept'] })
      await failureOf(SubjectErasedError, () => execute(again, write({ id: 'a', text: 'new' })))
      assert.equal(await again.head(Person('a')), 0)
      const told = (await everything(again)).filter(({ type }) => type === erasures.SubjectErased.type)
      assert.deepEqual(
        told.map(({ data, position }) => ({ data, position })),
        [
          {
            data: { subject: report.subject, erasedAt: report.erasedAt, reason: 'asked for' },
            position: report.position,
          },
        ],
      )
      assert.equal(report.outcome, 'erased')
      const outcome = 'already-erased'
      assert.deepEqual(await eraseSubject(again, subject('person', 'a')), { ...report, outcome })
      const unknown = await eraseSubject(again, subject('person', 'nobody'))
      assert.equal(unknown.outcome, 'unknown-subject')
    },
  )

  prove('E3: of appends and an erasure that race, none is readable afterwards', async (_, realm) => {
    const keys = memoryKeys()
    const stores = await Promise.all(upTo(3).map(() => realm.open(undefined, { personal: testRing(keys) })))
    await execute(stores[0]!, write({ id: 'a', text: 'first' }))
    const calls = stores.flatMap((store, n) =>
      upTo(8).map(async (i) => {
        if (n === 1 && i === 3) await eraseSubject(store, subject('person', 'a'))
        await execute(store, write({ id: 'a', text: `${n}-${i}` })).catch((error: unknown) => {
          if (!(error instanceof SubjectErasedError)) throw error
        })
      }),
    )
    await Promise.all(calls)
    for (const store of stores) {
      const { texts } = await reveal(store, (await load(store, Person('a'))).state)
      assert.ok(texts.length > 0 && texts.every(isErased))
      await failureOf(SubjectErasedError, () => execute(store, write({ id: 'a', text: 'late' })))
    }
  })

  prove(
    'W4: a repeat by its key is a repeat although its personal values are sealed anew, also after an erasure',
    { needs: ['keys'] },
    async (_, realm) => {
      const store = await realm.open(undefined, { personal: testRing() })
      const first = await execute(store, write({ id: 'a', text: MARKER }), { key: 'k' })
      const stranger = Person.events.Written({ id: 'a', text: MARKER })
      const appended = await store.append({ stream: Person('b'), events: [stranger] }, { key: 'l' })
      const again = await store.append({ stream: Person('b'), events: [{ ...stranger }] }, { key: 'l' })
      assert.deepEqual(again, { ...appended, repeated: true })
      await eraseSubject(store, subject('person', 'a'))
      assert.deepEqual(await execute(store, write({ id: 'a', text: MARKER }), { key: 'k' }), {
        ...first,
        repeated: true,
      })
    },
  )
}

const MARKER = 'a personal value'

const Person = defineAggregate({
  name: 'Person',
  events: {
    Written: event<{ id: string; text: string }>().personal({ text: (data) => subject('person', data.id) }),
  },
  initial: () => ({ texts: [] as readonly Sealed<string>[] }),
  apply: { Written: ({ texts }, { text }) => ({ texts: [...texts, text] }) },
})

const write = defineCommand({
  reads: (input: { id: string; text: string }) => Person(input.id),
  handle: (_state, input) => Person.events.Written(input),
})

function testRing(keys = memoryKeys()): KeyRing {
  return keyRing({
    keys,
    wrap: wrappingKey('test', new Uint8Array(32).fill(1)),
    secret: 'sixteen bytes or more',
  })
}
