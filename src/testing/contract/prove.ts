import type { Capabilities } from '../../adapter/store-adapter.ts'
import { type Proof } from './realm.ts'

/** The functions of a test runner that the suite needs. Those of Vitest, Jest and `node:test` fit. */
export interface ContractRunner {
  describe(name: string, body: () => void): void
  test(name: string, body: () => Promise<void>): void
  /** Declares a skipped case and says why. Default: the case is declared with the reason in its name, and passes. */
  skip?(name: string, reason: string): void
}

/** What a store must declare for a case to be run. */
export interface Demands {
  readonly needs?: readonly (keyof Capabilities)[]
}

/** Declares a case. Its name begins with the promise that it proves. */
export interface Prove {
  (name: string, proof: Proof): void
  (name: string, demands: Demands, proof: Proof): void
}

/** Cases of one kind of promise. */
export type Group = (prove: Prove) => void
