import { groups } from './groups.ts'
import { type ContractSubject, type Proof, provide } from './realm.ts'
import type { ContractRunner, Demands } from './prove.ts'

/**
 * Proves a store of Mneme: declares a case for each promise that every store keeps, named by that promise, as
 * in `W2: exactly one of 20 concurrent creations wins`. Each case gets data of its own.
 *
 * A case is skipped only if the subject declares that its store lacks a capability that the case needs.
 *
 * @example
 * ```ts
 * import { describe, test } from 'node:test'
 *
 * function prove(open: (database: string) => Promise<StoreAdapter>, drop: (database: string) => Promise<void>) {
 *   const create = async () => {
 *     const database = crypto.randomUUID()
 *     return { connect: () => open(database), destroy: () => drop(database) }
 *   }
 *   storeContract({ name: 'my store', create }, { describe, test })
 * }
 * ```
 */
export function storeContract(subject: ContractSubject, runner: ContractRunner): void {
  for (const [title, group] of Object.entries(groups)) {
    runner.describe(`${subject.name}: ${title}`, () => {
      group((name: string, ...rest: [Proof] | [Demands, Proof]) => {
        const [demands, proof] = rest.length === 1 ? [{}, rest[0]] : rest
        const lacking =
          demands.needs?.filter((capability) => subject.capabilities?.[capability] === false) ?? []
        if (lacking.length === 0) runner.test(name, () => provide(subject, proof))
        else skip(runner, name, `the store declares no ${lacking.join(', no ')}`)
      })
    })
  }
}

function skip(runner: ContractRunner, name: string, reason: string): void {
  if (runner.skip) runner.skip(name, reason)
  else runner.test(`${name} (skipped: ${reason})`, () => Promise.resolve())
}
