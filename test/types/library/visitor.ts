import * as z from 'zod'
import { defineAggregate } from 'mneme'
import { ShopEvents, VisitorEvents } from './events.ts'

export const Visitor = defineAggregate({
  name: 'Visitor',
  events: {
    ...VisitorEvents,
    Rated: ShopEvents.Rated,
    Named: z.object({ name: z.string() }),
    Moved: z.object({ to: z.string().default('away') }),
  },
  initial: () => ({ seen: 0 }),
  apply: {
    Came: (state) => ({ seen: state.seen + 1 }),
    Rated: (state) => state,
    Named: (state) => state,
    Moved: (state, { to }) => (to === 'away' ? { seen: 0 } : state),
  },
})
