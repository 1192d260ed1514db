import { defineAggregate, defineCommand, defineEvents, event } from 'mneme'
import { BankAccount, Withdrawn } from './bank.ts'

/** Events of their own, borrowed by aggregates. */
export const Audit = defineEvents('Audit', { Flagged: event<{ why: string }>() })

export const Loan = defineAggregate({
  name: 'Loan',
  events: {
    // Oldest first; the last is what apply sees. Nothing is annotated but the oldest.
    Granted: event<{ name: string; sum: number }>()
      .next((v1) => ({ owner: v1.name, sum: v1.sum }))
      .next((v2) => ({ ...v2, currency: 'EUR' }))
      .formerly('Loan.Created', 'Credit.Granted'),
    Flagged: Audit.Flagged,
    Withdrawn, // which BankAccount owns
  },
  initial: () => ({ owner: '', flags: 0, sum: 0 }),
  apply: {
    Granted: (state, { owner, currency, sum }, { revision }) => ({
      ...state,
      sum,
      owner: `${owner}/${currency}@${revision}`,
    }),
    Flagged: (state, { why }) => ({ ...state, flags: state.flags + why.length }),
    Withdrawn: (state, { amount }) => ({ ...state, sum: state.sum + amount }),
  },
})

export const flag = defineCommand({
  reads: (input: { loan: string; why: string }) => ({
    loan: Loan(input.loan),
    account: BankAccount(input.loan),
  }),
  handle: (_, { why }, { on }) => [
    on.loan(Audit.Flagged({ why }), Withdrawn({ amount: 1 })),
    on.account(Withdrawn({ amount: 1 })),
  ],
})
