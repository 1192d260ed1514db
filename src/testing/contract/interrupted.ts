import assert from 'node:assert/strict'
import { OutcomeUnknownError, StoreFailedError } from '../../base/errors.ts'
import { afterAppend, beforeAppend } from './faults.ts'
import { everything, failureOf, nothingWritten, thrownBy } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happened, happenings, identified } from './sample-events.ts'

const lost = (): never => {
  throw new OutcomeUnknownError('the connection was lost while committing')
}

/** W4: an append whose answer did not arrive is made again, and there is one copy. */
export function interrupted(prove: Prove): void {
  for (const expected of ['none', 0] as const) {
    prove(
      `W4: an append whose answer was lost after its commit, expecting ${expected}, is stored once when sent again`,
      async (store, realm) => {
        if (expected === 0) await store.append({ stream: 'a', events: [happened(-1)] })
        const unlucky = await realm.open(afterAppend(lost))
        const write = { stream: 'a', events: identified(happenings(3)), expected }
        await failureOf(OutcomeUnknownError, () => unlucky.append(write))
        const stored = await everything(store)
        await store.append({ stream: 'a', events: [happened(9)] })
        const again = await nothingWritten(store, () => store.append(write))
        assert.equal(again.repeated, true)
        assert.deepEqual(again.events, stored.slice(expected === 0 ? 1 : 0))
        const reopened = await realm.restart()
        assert.equal((await nothingWritten(reopened, () => reopened.append(write))).repeated, true)
      },
    )
  }

  prove(
    'W4: the key of an append whose answer was lost after its commit finds it again',
    { needs: ['keys'] },
    async (store, realm) => {
      const unlucky = await realm.open(afterAppend(lost))
      const write = { stream: 'a', events: happenings(3) }
      await failureOf(OutcomeUnknownError, () => unlucky.append(write, { key: 'once' }))
      const stored = await everything(store)
      assert.equal(stored.length, 3)
      const again = await nothingWritten(store, () => store.append(write, { key: 'once' }))
      assert.equal(again.repeated, true)
      assert.deepEqual(again.events, stored)
    },
  )

  prove('W4: an append that failed before its commit is written when sent again', async (store, realm) => {
    let failures = 1
    const unlucky = await realm.open(
      beforeAppend(() => {
        if (failures-- > 0) throw new StoreFailedError('the connection was lost')
      }),
    )
    const write = { stream: 'a', events: identified(happenings(3)), expected: 'none' as const }
    await nothingWritten(store, () => failureOf(StoreFailedError, () => unlucky.append(write)))
    assert.equal((await unlucky.append(write)).repeated, false)
    assert.equal((await everything(store)).length, 3)
  })

  prove('W4: an append aborted before it is sent writes nothing', async (store) => {
    const controller = new AbortController()
    const reason = new Error('no longer wanted')
    controller.abort(reason)
    await nothingWritten(store, async () => {
      const call = store.append({ stream: 'a', events: [happened(0)] }, { signal: controller.signal })
      assert.equal(await thrownBy(() => call), reason)
    })
  })

  prove('W5: an append aborted in flight either succeeds or fails without writing', async (store) => {
    for (let round = 0; round < 10; round++) {
      const controller = new AbortController()
      const call = store.append(
        { stream: `s-${round}`, events: happenings(2) },
        { signal: controller.signal },
      )
      if (round % 2 === 0) await Promise.resolve()
      controller.abort()
      const written = await call.then(
        () => true,
        () => false,
      )
      assert.equal(await store.head(`s-${round}`), written ? 1 : 'none')
    }
  })
}
