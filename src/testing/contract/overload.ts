import assert from 'node:assert/strict'
import { InvalidArgumentError, OverloadedError } from '../../base/errors.ts'
import { beforeAppend, gate } from './faults.ts'
import { everything, failureOf, nextTurn, race, thrownBy } from './outcomes.ts'
import type { Prove } from './prove.ts'
import { happened, numbersOf, upTo } from './sample-events.ts'

/** F4: queues are bounded. When a store stalls, callers hear of it at a stated depth. */
export function overload(prove: Prove): void {
  for (const maxPending of [1, 5, 100]) {
    prove(
      `F4: a stalled store accepts ${maxPending} appends, refuses the next with OverloadedError, then recovers`,
      async (store, realm) => {
        const stalled = gate(realm)
        const slow = await realm.open(
          beforeAppend(() => stalled.pass()),
          { maxPending },
        )
        const append = (n: number) => slow.append({ stream: 'a', events: [happened(n)] })
        const calls = upTo(maxPending).map(append)
        for (const n of upTo(3)) {
          const error = await failureOf(OverloadedError, () => append(1_000 + n))
          assert.equal(error.pending, maxPending)
          assert.equal(error.isRetryable, true)
        }
        stalled.open()
        await Promise.all(calls)
        await append(maxPending)
        const numbers = numbersOf(await everything(store)).sort((a, b) => a - b)
        assert.deepEqual(numbers, upTo(maxPending + 1))
      },
    )
  }

  prove('F4: appends with a key count towards maxPending', { needs: ['keys'] }, async (store, realm) => {
    const stalled = gate(realm)
    const slow = await realm.open(
      beforeAppend(() => stalled.pass()),
      { maxPending: 3 },
    )
    const calls = upTo(8).map((n) => slow.append({ stream: 'a', events: [happened(n)] }, { key: `k-${n}` }))
    const racing = race(calls, OverloadedError)
    while (stalled.arrived < 3) await nextTurn()
    stalled.open()
    const { won, lost } = await racing
    assert.deepEqual([won.length, lost.length], [3, 5])
    assert.equal((await everything(store)).length, 3)
  })

  prove('F4: reading continues while appends are stalled', async (store, realm) => {
    await store.append({ stream: 'a', events: [happened(0)] })
    const stalled = gate(realm)
    const slow = await realm.open(
      beforeAppend(() => stalled.pass()),
      { maxPending: 1 },
    )
    const call = slow.append({ stream: 'a', events: [happened(1)] })
    assert.equal(await slow.head('a'), 0)
    assert.equal((await everything(slow)).length, 1)
    stalled.open()
    await call
  })

  prove(
    'F4: appends that were refused or failed no longer count towards maxPending',
    async (store, realm) => {
      const narrow = await realm.open(undefined, { maxPending: 4 })
      for (const round of upTo(5)) {
        const { won, lost } = await race(
          upTo(4).map(() => narrow.append({ stream: `s-${round}`, events: [happened(0)], expected: 'none' })),
        )
        assert.deepEqual([won.length, lost.length], [1, 3])
        await failureOf(InvalidArgumentError, () => narrow.append({ stream: '', events: [] }))
        await thrownBy(() => narrow.append({ stream: 'a' }, { signal: AbortSignal.abort() }))
      }
      assert.equal((await everything(store)).length, 5)
    },
  )
}
