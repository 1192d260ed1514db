import type { Capabilities } from './store-adapter.ts'

/** What a store declares that has every optional feature and never loses the beginning of a stream. */
export const ALL_CAPABILITIES: Capabilities = Object.freeze({
  severalStreams: true,
  keys: true,
  settlesAny: true,
  truncation: false,
  listsStreams: true,
  snapshots: true,
})
