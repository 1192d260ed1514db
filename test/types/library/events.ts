import * as z from 'zod'
import { defineEvents, event } from 'mneme'

// Events first: both aggregates import this file, neither imports the other.
export const ShopEvents = defineEvents('Shop', {
  Opened: event<{ name: string }>(),
  Rated: z.object({ stars: z.int().min(1).max(5), by: z.string().default('anonymous') }),
})
export const VisitorEvents = defineEvents('Visitor', { Came: event<{ shop: string }>() })
