import assert from 'node:assert/strict'
import { execute, tryExecute } from '../../execution/execute.ts'
import { defineClaim } from '../../model/claim.ts'
import { defineCommand } from '../../model/command.ts'
import type { EventStore } from '../../store/event-store.ts'
import { Account } from './accounts.ts'
import { everything } from './outcomes.ts'
import type { Demands, Prove } from './prove.ts'
import { upTo } from './sample-events.ts'

const several: Demands = { needs: ['severalStreams'] }

/** W1 and W3 for claims: a value has one owner at most, and is claimed and released in the append of a command. */
export function claims(prove: Prove): void {
  prove(
    'W3: exactly one of 24 commands that claim a value at once succeeds, and the others write nothing',
    several,
    async (store, realm) => {
      const stores = [store, await realm.open()]
      const { claim } = commandsOf([SECRETS[0]])
      const outcomes = await Promise.all(
        upTo(24).map((n) =>
          tryExecute(stores[n % 2]!, claim({ owner: `u${n}`, value: `${n % 2 ? ' A' : 'a'}@x` })),
        ),
      )
      const rejections = outcomes.flatMap((outcome) => (outcome.ok ? [] : [outcome.rejection]))
      assert.deepEqual(
        rejections,
        upTo(23).map(() => ({ reason: 'taken', claim: 'Contact' })),
      )
      const log = await everything(store)
      assert.deepEqual(log.map(({ type }) => type).sort(), ['Account.Noted', 'Contact.Claimed'])
      assert.equal(
        log[0]!.stream,
        `Account-${(log.find(({ type }) => type === 'Contact.Claimed')!.data as Owned).owner}`,
      )
      assert.doesNotMatch(JSON.stringify(log), /a@x/i)
    },
  )

  prove(
    'W1: a value moves in one append, or stays as it was if the new one is taken',
    several,
    async (store) => {
      const { claim, move, ownerOf } = commandsOf([SECRETS[0]])
      await execute(store, claim({ owner: 'ann', value: 'old' }))
      await execute(store, claim({ owner: 'bob', value: 'other' }))
      const taken = await tryExecute(store, move({ owner: 'ann', from: 'old', to: 'other' }))
      assert.deepEqual(taken.ok ? undefined : taken.rejection, { reason: 'taken', claim: 'Contact' })
      assert.equal(await ownerOf(store, 'old'), 'ann')
      await execute(store, move({ owner: 'ann', from: 'old', to: 'new' }))
      assert.deepEqual([await ownerOf(store, 'old'), await ownerOf(store, 'new')], [undefined, 'ann'])
      await execute(store, claim({ owner: 'cy', value: 'old' }))
      assert.equal(await ownerOf(store, 'old'), 'cy')
      await execute(store, move({ owner: 'ann', from: 'new', to: ' NEW ' }))
      assert.equal(await ownerOf(store, 'new'), 'ann')
    },
  )

  prove(
    'W3: a value stays unique while its secret rotates, and is rewritten as it is used',
    several,
    async (store, realm) => {
      const other = await realm.open()
      const [first, second] = SECRETS
      const steps = [[first], [first, second], [second, first], [second]] as const
      const programs = steps.map((secrets) => commandsOf(secrets))
      await execute(store, programs[0]!.claim({ owner: 'ann', value: 'v' }))
      for (const [i, program] of programs.entries()) {
        const before = programs[i - 1] ?? program
        assert.equal(await program.ownerOf(store, 'v'), 'ann')
        const outcomes = await Promise.all(
          upTo(12).map((n) => {
            const owner = n < 6 ? 'ann' : `u${n}`
            return n % 2
              ? tryExecute(store, program.claim({ owner, value: 'v' }))
              : tryExecute(other, before.claim({ owner, value: 'v' }))
          }),
        )
        assert.deepEqual(
          outcomes.map(({ ok }) => ok),
          upTo(12).map((n) => n < 6),
        )
        const fresh = await Promise.all([
          tryExecute(store, program.claim({ owner: 'x', value: `w${i}` })),
          tryExecute(other, before.claim({ owner: 'y', value: `w${i}` })),
        ])
        assert.equal(fresh.filter(({ ok }) => ok).length, 1)
        await execute(store, program.claim({ owner: 'ann', value: 'v' }))
      }
      assert.equal(await programs[3]!.ownerOf(store, 'v'), 'ann')
      assert.equal(await programs[0]!.ownerOf(store, 'v'), undefined)
    },
  )
}

const SECRETS = ['the first secret of the cases', 'the second secret of the cases'] as const

interface Owned {
  readonly owner: string
}

/** Commands of a program with these secrets. */
function commandsOf(secret: readonly string[]) {
  const Contact = defineClaim({ name: 'Contact', of: (value: string) => value.trim().toLowerCase(), secret })
  const claim = defineCommand({
    reads: (input: { owner: string; value: string }) => ({
      account: Account(input.owner),
      contact: Contact(input.value),
    }),
    handle: ({ contact }, { owner }, { on }) => [
      ...(contact.owner === owner ? [] : [on.account(Account.events.Noted({ text: 'claimed' }))]),
      on.contact.claim(owner),
    ],
  })
  const move = defineCommand({
    reads: (input: { owner: string; from: string; to: string }) => ({
      from: Contact(input.from),
      to: Contact(input.to),
    }),
    handle: (_, { owner }, { on }) => [on.from.release(owner), on.to.claim(owner)],
  })
  const look = defineCommand({
    reads: (value: string) => ({ contact: Contact(value) }),
    handle: () => [],
  })
  const ownerOf = async (store: EventStore, value: string) =>
    (await execute(store, look(value))).state.contact.owner
  return { claim, move, ownerOf }
}
