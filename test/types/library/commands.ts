import * as z from 'zod'
import { defineCommand, reject, ofType } from 'mneme'
import { Shop } from './shop.ts'
import { Visitor } from './visitor.ts'

export const visit = defineCommand({
  reads: (input: { visitor: string; shop: string }) => ({
    visitor: Visitor(input.visitor),
    shop: Shop(input.shop),
  }),
  handle: ({ shop }, { shop: name }, { on }) => {
    if (shop.visits > 99) return reject('full', { visits: shop.visits })
    const came = Visitor.events.Came({ shop: name })
    return [on.visitor(came), on.shop(came)]
  },
})

export const rate = defineCommand({
  input: z.object({ shop: z.string(), stars: z.coerce.number<string>() }),
  needs: ofType<{ now: () => Date }>(),
  reads: ({ shop }) => Shop(shop),
  handle: (_, { stars }, { now }) =>
    now().getHours() > 20 ? reject('closed') : Shop.events.Rated({ stars, by: 'a visitor' }),
})
