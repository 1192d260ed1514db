import { defineAggregate, defineCommand, event } from 'mneme'
import * as z from 'zod'

/** The id of an article. */
export const ArticleId = z.string().regex(/^[\w.]{1,50}$/)

/** An article, its price in cents, and how many of it are in stock and not reserved. */
export const Article = defineAggregate({
  name: 'Article',
  id: ArticleId,
  events: {
    Delivered: event<{ quantity: number; price: number }>(),
    Reserved: event<{ order: string; quantity: number }>(),
    Released: event<{ order: string; quantity: number }>(),
  },
  initial: () => ({ stock: 0, price: 0 }),
  apply: {
    Delivered: ({ stock }, { quantity, price }) => ({ stock: stock + quantity, price }),
    Reserved: (state, { quantity }) => ({ ...state, stock: state.stock - quantity }),
    Released: (state, { quantity }) => ({ ...state, stock: state.stock + quantity }),
  },
})

export const deliver = defineCommand({
  name: 'article.deliver',
  reads: (input: { article: string; quantity: number; price: number }) => Article(input.article),
  handle: (_article, { quantity, price }) => Article.events.Delivered({ quantity, price }),
})
