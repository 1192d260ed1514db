import { checkOptions } from '../../base/arguments.ts'
import { createStore, STORE_OPTIONS } from '../../store/create-store.ts'
import type { EventStore, StoreOptions } from '../../store/event-store.ts'
import { memoryAdapter } from './adapter.ts'

/**
 * A store in the memory of this process, for tests and experiments. It keeps every promise except durability.
 *
 * @example
 * ```ts
 * const store = memoryStore()
 * ```
 */
export function memoryStore(options: StoreOptions = {}): EventStore {
  return createStore(memoryAdapter(), checkOptions(options, 'options', STORE_OPTIONS))
}
