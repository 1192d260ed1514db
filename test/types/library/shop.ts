import { defineAggregate } from 'mneme'
import { ShopEvents, VisitorEvents } from './events.ts'

export const Shop = defineAggregate({
  name: 'Shop',
  events: { ...ShopEvents, Came: VisitorEvents.Came },
  initial: () => ({ visits: 0, stars: [] as number[] }),
  apply: {
    Opened: (state) => state,
    Rated: (state, { stars }) => ({ ...state, stars: [...state.stars, stars] }),
    Came: (state) => ({ ...state, visits: state.visits + 1 }),
  },
})
