import { defineAggregate, event } from 'mneme'

/** An aggregate with snapshots. */
export const Lamp = defineAggregate({
  name: 'Lamp',
  events: { Switched: event() },
  initial: () => ({ times: 0 }),
  apply: { Switched: ({ times }) => ({ times: times + 1 }) },
  snapshot: { version: 1, every: 5 },
})

/** Enough events for a snapshot of a new stream. */
export const switches = Array.from({ length: 7 }, () => Lamp.events.Switched())
