import { defineClaim, type EventStore } from 'mneme'
import { expect } from 'vitest'
import { ScriptProcess } from './processes.ts'

const PROCESSES = 8
const VALUES = 6
const SECRETS = ['the older secret of the race', 'the newer secret of the race'] as const

/**
 * Eight processes claim the same values at once, and release each second one; half of them have rotated the secret. No
 * value ever has two owners, and each process was told what is stored.
 */
export async function raceForClaims(url: string, store: EventStore): Promise<void> {
  const script = new URL('claimer.mjs', import.meta.url)
  const claimers = Array.from({ length: PROCESSES }, (_, i) => {
    const secrets = i % 2 ? SECRETS : SECRETS.toReversed()
    return new ScriptProcess(script, url, `owner-${i}`, VALUES, ...secrets)
  })
  for (const claimer of claimers) await claimer.said('ready')
  for (const claimer of claimers) claimer.say('go')
  const won = await Promise.all(claimers.map((claimer) => claimer.result<string[]>()))

  const Seat = defineClaim({ name: 'Seat', of: (value: string) => value, secret: SECRETS })
  const values = Array.from({ length: VALUES }, (_, n) => `v${n}`)
  const valueOf = new Map(values.flatMap((value) => Seat(value).streams.map(({ stream }) => [stream, value])))
  const held = new Map(values.map((value) => [value, new Map<string, string>()]))
  for await (const event of store.readAll({ categories: ['Seat'] })) {
    const owners = held.get(valueOf.get(event.stream)!)!
    const { owner } = event.data as { owner?: string }
    if (owner === undefined) owners.delete(event.stream)
    else owners.set(event.stream, owner)
    expect(new Set(owners.values()).size).toBeLessThanOrEqual(1)
  }
  for (const [n, value] of values.entries()) {
    const owners = [...held.get(value)!.values()]
    const winners = won.flatMap((own, i) => (own.includes(value) ? [`owner-${i}`] : []))
    // An even seat is kept by its first owner; an odd one was released by each of its owners.
    if (n % 2) expect(owners).toEqual([])
    else expect([...new Set(owners)]).toEqual(winners)
  }
}
