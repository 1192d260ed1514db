import type { Capabilities } from './store-adapter.ts'

/** What a store declares that has every optional feature. */
export const ALL_CAPABILITIES: Capabilities = Object.freeze({
  severalStreams: true,
  keys: true,
  settlesAny: true,
  truncation: true,
  erasesAtOnce: true,
  listsStreams: true,
  imports: true,
  snapshots: true,
})
