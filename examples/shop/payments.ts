/** A payment service. A payment of an id happens once, however often it is asked for. */
export interface Payments {
  charge(
    id: string,
    payment: { readonly card: string; readonly amount: number },
  ): Promise<'charged' | 'declined'>
  refund(id: string): Promise<void>
}

/** A payment service in memory, for the example and its tests: it declines cards that begin with 4000. */
export function testPayments(): Payments & { readonly charged: ReadonlyMap<string, number> } {
  const charged = new Map<string, number>()
  return {
    charged,
    charge: (id, { card, amount }) => {
      if (card.startsWith('4000')) return Promise.resolve('declined')
      charged.set(id, amount)
      return Promise.resolve('charged')
    },
    refund: (id) => {
      charged.delete(id)
      return Promise.resolve()
    },
  }
}
