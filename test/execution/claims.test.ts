import { describe, expect, test } from 'vitest'
import { defineClaim, defineCommand, type EventStore, execute, load, tryExecute } from 'mneme'
import { httpAnswers } from 'mneme/http'
import { memoryStore } from 'mneme/memory'
import { given, on as onStream } from 'mneme/testing'
import { BankAccount, Opened } from '../support/bank.ts'
import { eventsOf } from '../support/observed-store.ts'

const secret = 'sixteen bytes or more'
const Email = defineClaim({ name: 'Email', of: (address: string) => address.trim().toLowerCase(), secret })

const register = defineCommand({
  reads: (input: { user: string; address: string }) => ({
    user: BankAccount(input.user),
    email: Email(input.address),
  }),
  handle: (_, { user }, { on }) => [on.user(Opened({ owner: user })), on.email.claim(user)],
})

describe('a claim', () => {
  test('a command with a claim is tested by given, when, then', async () => {
    const { Claimed, Released } = Email.events
    const call = register({ user: 'ann', address: ' Ann@Example.org' })
    const stream = Email.stream('ann@example.org')
    const user = BankAccount('ann')
    await given()
      .when(call)
      .thenEvents(onStream(user, Opened({ owner: 'ann' })), onStream(stream, Claimed({ owner: 'ann' })))
    await given(stream, Claimed({ owner: 'bob' }))
      .when(call)
      .thenRejected({ reason: 'taken', claim: 'Email' })
    await given(stream, Claimed({ owner: 'bob' }), Released())
      .when(call)
      .thenState({ user: { balance: 0, open: true }, email: { owner: 'ann' } })
    await given(stream, Claimed({ owner: 'ann' }))
      .when(call)
      .thenEvents(onStream(user, Opened({ owner: 'ann' })))
  })

  test('names its stream by a keyed hash, the same for every spelling', () => {
    const { stream } = Email.stream('ann@example.org')
    expect(stream).toMatch(/^Email-[0-9a-f]{64}$/)
    expect(Email.stream(' ANN@example.org ').stream).toBe(stream)
    const names = [
      defineClaim({ name: 'Email', of: (text: string) => text, secret: 'another secret of it' }),
      defineClaim({ name: 'Login', of: (text: string) => text, secret }),
    ].map((Claim) => Claim.stream('ann@example.org').stream.split('-')[1])
    expect(new Set([...names, stream.split('-')[1]]).size).toBe(3)
    expect(JSON.stringify(Email('ann@example.org'))).not.toMatch(/ann|sixteen/)
  })

  test('knows its owner in handle, in the result and by load', async () => {
    const store = memoryStore()
    const { state, revisions } = await execute(store, register({ user: 'ann', address: 'a@x' }))
    expect(state.email).toEqual({ owner: 'ann' })
    expect(revisions.get(Email.stream('a@x').stream)).toBe(0)
    expect((await load(store, { email: Email('a@x') })).state.email.owner).toBe('ann')
    expect((await load(store, { email: Email('b@x') })).state.email.owner).toBeUndefined()
    const known = defineCommand({
      reads: (address: string) => ({ email: Email(address) }),
      follow: ({ email }) => ({ user: email.owner === undefined ? undefined : BankAccount(email.owner) }),
      handle: () => [],
    })
    expect((await execute(store, known('a@x'))).state.user).toEqual({ balance: 0, open: true })
  })

  describe('that one decision releases and claims', () => {
    type Act = 'claim' | 'release' | 'releaseAny'
    const change = defineCommand({
      reads: (_: { owner: string; acts: readonly Act[]; returned: readonly number[] | undefined }) => ({
        last: Email(' A@X'),
        next: Email('a@x'),
      }),
      handle: (_, { owner, acts, returned }, { on }) => {
        const items = acts.map((act) => {
          if (act === 'claim') return on.next.claim(owner)
          return on.last.release(act === 'release' ? owner : undefined)
        })
        return returned?.map((i) => items[i]!) ?? items
      },
    })
    const owned = async (owner?: string) => {
      const store = memoryStore()
      if (owner !== undefined) await execute(store, register({ user: owner, address: 'a@x' }))
      return store
    }
    const ownerIn = async (store: EventStore) =>
      (await load(store, { email: Email('a@x') })).state.email.owner

    test.each<[acts: Act[], returned?: number[]]>([
      [['claim', 'release']],
      [['release', 'claim']],
      [['claim', 'releaseAny']],
      [['releaseAny', 'claim']],
      [
        ['release', 'claim'],
        [1, 0],
      ],
      [
        ['claim', 'release'],
        [1, 0],
      ],
      [['claim', 'release', 'claim', 'release']],
    ])('stays claimed by its owner: %j', async (acts, returned) => {
      for (const owner of ['ann', undefined]) {
        const store = await owned(owner)
        const { state, events } = await execute(store, change({ owner: 'ann', acts, returned }))
        expect([state.next.owner, await ownerIn(store)]).toEqual(['ann', 'ann'])
        expect(events.map(({ type }) => type)).toEqual(owner === 'ann' ? [] : ['Email.Claimed'])
      }
    })

    test('passes from one owner to another', async () => {
      for (const returned of [
        [0, 1],
        [1, 0],
      ]) {
        const store = await owned('ann')
        const { events } = await execute(
          store,
          change({ owner: 'bob', acts: ['releaseAny', 'claim'], returned }),
        )
        expect(events.map(({ type }) => type)).toEqual(['Email.Released', 'Email.Claimed'])
        expect(await ownerIn(store)).toBe('bob')
      }
    })

    test.each<[acts: Act[], returned?: number[]]>([
      [['claim', 'releaseAny']],
      [['claim', 'release']],
      [['release', 'claim']],
      [['releaseAny', 'claim'], [1]],
    ])('stays with another owner who was not released before: %j', async (acts, returned) => {
      const store = await owned('ann')
      const outcome = await tryExecute(store, change({ owner: 'bob', acts, returned }))
      expect(outcome).toMatchObject({ ok: false, rejection: { reason: 'taken', claim: 'Email' } })
      expect(await ownerIn(store)).toBe('ann')
    })

    test('a claim or release that handle does not return counts for nothing', async () => {
      const store = await owned('ann')
      await execute(store, change({ owner: 'ann', acts: ['release'], returned: [] }))
      expect(await ownerIn(store)).toBe('ann')
      await execute(store, change({ owner: 'ann', acts: ['claim', 'release'], returned: [1] }))
      expect(await ownerIn(store)).toBeUndefined()
    })
  })

  test('a claim of another owner is not released, if the owner is named', async () => {
    const store = memoryStore()
    const drop = defineCommand({
      reads: (_: string | undefined) => ({ email: Email('a@x') }),
      handle: (_, owner, { on }) => on.email.release(owner),
    })
    await execute(store, register({ user: 'ann', address: 'a@x' }))
    expect((await execute(store, drop('bob'))).events).toEqual([])
    expect((await execute(store, drop('ann'))).events).toHaveLength(1)
    expect((await execute(store, drop(undefined))).events).toEqual([])
  })

  test('under an older secret moves to the current one when it is used', async () => {
    const store = memoryStore()
    const older = 'the older secret, no less'
    const Rotated = defineClaim({
      name: 'Email',
      of: (address: string) => address.trim().toLowerCase(),
      secret: [new TextEncoder().encode(older), secret].toReversed(),
    })
    const Old = defineClaim({
      name: 'Email',
      of: (address: string) => address.trim().toLowerCase(),
      secret: older,
    })
    const claim = (Claim: typeof Old) =>
      defineCommand({
        reads: (_: string) => ({ email: Claim('a@x') }),
        handle: (_, owner, { on }) => on.email.claim(owner),
      })
    await execute(store, claim(Old)('ann'))
    expect(await tryExecute(store, claim(Rotated)('bob'))).toMatchObject({ ok: false })
    const { events, state } = await execute(store, claim(Rotated)('ann'))
    expect(state.email.owner).toBe('ann')
    expect(events.map(({ type, stream }) => [type, stream])).toEqual([
      ['Email.Claimed', Rotated.stream('a@x').stream],
      ['Email.Released', Old.stream('a@x').stream],
    ])
    expect((await execute(store, claim(Rotated)('ann'))).events).toEqual([])
    expect(await eventsOf(store, Rotated.stream('a@x').stream)).toHaveLength(1)
  })

  test.each([
    ['a name that no stream can have', { name: 'E-mail', of: String, secret }, 'name'],
    ['no function for the text', { name: 'Email', secret }, 'of'],
    ['no secret', { name: 'Email', of: String }, 'secret'],
    ['a short secret', { name: 'Email', of: String, secret: 'fifteen letters' }, 'secret'],
    ['short bytes', { name: 'Email', of: String, secret: [secret, new Uint8Array(15)] }, 'secret[1]'],
    ['no secret in the list', { name: 'Email', of: String, secret: [] }, 'secret'],
    ['a secret twice', { name: 'Email', of: String, secret: [secret, secret] }, 'secret[1]'],
    ['a misspelt name', { name: 'Email', of: String, secrets: [secret] }, 'definition.secrets'],
  ])('is refused with %s', (_, definition, argument) => {
    const define = defineClaim as (definition: object) => unknown
    expect(() => define(definition)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT', argument }))
  })

  test.each(['', ' '])('of an empty value (%j) is refused as invalid data', async (address) => {
    const refused: unknown = expect.objectContaining({
      code: 'INVALID_DATA',
      subject: 'claim Email',
      issues: [{ path: 'value', message: 'the value of claim Email must not be empty' }],
    })
    expect(() => Email(address)).toThrow(refused)
    expect(() => Email.stream(address)).toThrow(refused)
    expect(() => register({ user: 'ann', address })).toThrow(refused)
    const request = new Request('http://localhost/', { method: 'POST' })
    const response = await httpAnswers().command(request, {
      principal: null,
      execute: (options) => tryExecute(memoryStore(), register({ user: 'ann', address }), options),
      rejections: { taken: 409 },
    })
    expect(response.status).toBe(400)
    expect(await response.text()).toContain('the value of claim Email must not be empty')
  })

  test('shows neither its value nor its secret in an error', async () => {
    const failing = defineClaim({ name: 'Email', of: (_: string) => 5 as never, secret })
    expect(() => failing('ann@example.org')).toThrow('of(value) of Email must return a text')
    const command = defineCommand({
      reads: () => ({ email: Email('ann@example.org') }),
      handle: (_, __, { on }) => on.email.claim(''),
    })
    await expect(execute(memoryStore(), command())).rejects.toThrow(
      'the owner of Email must be a string that is not empty',
    )
    const stale = execute(memoryStore(), register({ user: 'ann', address: 'ann@example.org' }), {
      expected: { [Email.stream('ann@example.org').stream]: 4 },
    })
    await expect(stale).rejects.toThrow(
      /^stream "Email-[0-9a-f]{64}" was expected at revision 4, but is at 'none'$/,
    )
  })
})
