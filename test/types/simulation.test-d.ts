import { defineAggregate, defineCommand, event, ofType } from 'mneme'
import { simulate } from 'mneme/simulation'

const Loan = defineAggregate({
  name: 'Loan',
  events: { Granted: event<{ due: string }>(), Returned: event() },
  initial: () => ({ due: '' }),
  apply: { Granted: (_, { due }) => ({ due }), Returned: () => ({ due: '' }) },
})

const grant = defineCommand({
  needs: ofType<{ clock: { now(): Date } }>(),
  reads: (input: { loan: string }) => Loan(input.loan),
  handle: (_, _input, { clock }) => Loan.events.Granted({ due: clock.now().toISOString() }),
})
const rate = defineCommand({
  needs: ofType<{ rate: number }>(),
  reads: (input: { loan: string; other: string }) => ({ one: Loan(input.loan), other: Loan(input.other) }),
  handle: (_, _input, { on, rate }) => (rate > 1 ? on.one(Loan.events.Returned()) : []),
})
const back = defineCommand({
  reads: (input: { loan: string }) => Loan(input.loan),
  handle: () => Loan.events.Returned(),
})

export async function commandsAreGivenWhatTheyNeed() {
  await simulate({ workload: () => back({ loan: '1' }) })
  await simulate({ workload: ({ uuid }) => ({ command: back({ loan: '1' }), key: uuid() }) })
  await simulate({ workload: (_, clock) => ({ command: grant({ loan: '1' }), needs: { clock } }) })
  await simulate({
    workload: ({ happens, uuid }, clock) => {
      if (happens(0.5)) return back({ loan: '1' })
      const command = happens(0.5) ? grant({ loan: '1' }) : rate({ loan: '1', other: '2' })
      return { command, key: uuid(), needs: { clock, rate: 1 } }
    },
  })

  // @ts-expect-error: it needs a clock
  await simulate({ workload: () => grant({ loan: '1' }) })
  // @ts-expect-error: it needs a clock
  await simulate({ workload: () => ({ command: grant({ loan: '1' }) }) })
  // @ts-expect-error: it needs a clock
  await simulate({ workload: () => ({ command: grant({ loan: '1' }), needs: { clock: 1 } }) })
  await simulate({
    // @ts-expect-error: one of them needs a rate
    workload: ({ happens }, clock) => {
      const command = happens(0.5) ? grant({ loan: '1' }) : rate({ loan: '1', other: '2' })
      return { command, needs: { clock } }
    },
  })
}
