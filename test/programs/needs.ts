import { defineAggregate, defineCommand, event, reject, ofType } from 'mneme'

interface Rates {
  rate(from: string, to: string): Promise<number>
}
interface Clock {
  now(): Date
}

export const Wallet = defineAggregate({
  name: 'Wallet',
  events: { Converted: event<{ from: string; to: string; amount: number; got: number; at: string }>() },
  initial: (): { money: Record<string, number> } => ({ money: { EUR: 100 } }),
  apply: {
    Converted: ({ money }, { from, to, amount, got }) => ({
      money: { ...money, [from]: (money[from] ?? 0) - amount, [to]: (money[to] ?? 0) + got },
    }),
  },
})

export const convert = defineCommand({
  needs: ofType<{ rates: Rates; clock: Clock }>(),
  reads: (input: { wallet: string; from: string; to: string; amount: number }) => Wallet(input.wallet),
  handle: async (wallet, { from, to, amount }, { rates, clock, attempt }) => {
    if ((wallet.money[from] ?? 0) < amount) return reject('insufficient-funds')
    const rate = await rates.rate(from, to)
    if (rate <= 0) return reject('no-rate', { attempt })
    return Wallet.events.Converted({ from, to, amount, got: amount * rate, at: clock.now().toISOString() })
  },
})
