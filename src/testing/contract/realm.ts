import { ALL_CAPABILITIES } from '../../adapter/capabilities.ts'
import { createStore } from '../../store/create-store.ts'
import type { EventStore, StoreOptions } from '../../store/event-store.ts'
import type { Capabilities, StoreAdapter } from '../../adapter/store-adapter.ts'

/** A store to be proved. */
export interface ContractSubject {
  readonly name: string
  /**
   * What the store can do, as its adapter declares it, which the suite checks. Default: everything.
   */
  readonly capabilities?: Partial<Capabilities>
  /** Makes data of its own for a case. */
  create(): Promise<ContractRealm>
}

/** One case's data. */
export interface ContractRealm {
  /**
   * An adapter over the data, as another process would have it. Called several times, also while others are
   * open, and again after all of them were closed: a restart.
   */
  connect(): Promise<StoreAdapter>
  /** Called once, after all adapters were closed. */
  destroy(): Promise<void>
}

/** Changes an adapter before a store is made of it, to watch it or to make it fail. */
export type Change = (adapter: StoreAdapter) => StoreAdapter

/** The data of one case, with the stores opened over it. All of them are closed at the end of the case. */
export class Realm {
  /** The capabilities that the subject declares. */
  readonly capabilities: Capabilities
  readonly #realm: ContractRealm
  readonly #atEnd: (() => void)[] = []
  #stores: EventStore[] = []

  constructor(realm: ContractRealm, { capabilities }: ContractSubject) {
    this.#realm = realm
    this.capabilities = { ...ALL_CAPABILITIES, ...capabilities }
  }

  /** A store over a connection of its own. */
  async open(change: Change = (adapter) => adapter, options: StoreOptions = {}): Promise<EventStore> {
    const store = createStore(change(await this.connect()), options)
    this.#stores.push(store)
    return store
  }

  /** A connection that the case closes by itself. */
  connect(): Promise<StoreAdapter> {
    return this.#realm.connect()
  }

  /** Closes every store and opens one anew. */
  async restart(): Promise<EventStore> {
    await this.#close()
    return this.open()
  }

  /** Runs `release` before the stores are closed, which waits for calls in flight. */
  atEnd(release: () => void): void {
    this.#atEnd.push(release)
  }

  async end(): Promise<void> {
    for (const release of this.#atEnd) release()
    try {
      await this.#close()
    } finally {
      await this.#realm.destroy()
    }
  }

  async #close(): Promise<void> {
    const stores = this.#stores
    this.#stores = []
    await Promise.all(stores.map((store) => store.close()))
  }
}

/** Runs a case on data of its own. */
export async function provide(subject: ContractSubject, proof: Proof): Promise<void> {
  const realm = new Realm(await subject.create(), subject)
  try {
    await proof(await realm.open(), realm)
  } finally {
    await realm.end()
  }
}

/** The body of a case: it throws if the promise is broken. `store` is a first connection to new data. */
export type Proof = (store: EventStore, realm: Realm) => Promise<void>
