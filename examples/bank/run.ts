import type { Tally } from './tally.ts'
import type { Result, Teller } from './teller.ts'
import type { Line, Transaction } from './transactions.ts'

/** How many lines are read ahead of the oldest one that is not done. */
const IN_FLIGHT = 1_000

/**
 * Carries out all lines, as many at once as may be. A line waits for the earlier ones of its account, so what
 * becomes of it depends on the file alone, not on who is faster. But transfers to one account do not wait for
 * each other: their order makes no difference. They meet at the payee's stream, from two processes, and the
 * store sees to it that none is lost.
 */
export async function run(
  lines: AsyncIterable<Line>,
  options: {
    readonly tellers: readonly Teller[]
    readonly tally: Tally
    /** Why transactions were declined in earlier runs: they stay declined. */
    readonly declined: ReadonlyMap<string, string>
    /** Ends the run: what is begun is done, nothing else is begun. */
    readonly signal: AbortSignal
  },
): Promise<void> {
  const { tellers, tally, declined, signal } = options
  let failure: { readonly error: unknown } | undefined

  const carryOut = async (number: number, transaction: Transaction, earlier: unknown[]) => {
    await Promise.all(earlier)
    if (failure || signal.aborted) return
    const reason = declined.get(transaction.id)
    try {
      const result =
        reason === undefined ? await tellerOf(transaction, tellers)(transaction) : declinedBefore(reason)
      tally.add(number, transaction, result)
    } catch (error) {
      failure ??= { error }
    }
  }

  /** The last line of each account, and the transfers to it since. */
  const last = new Map<string, Promise<unknown>>()
  const incoming = new Map<string, Promise<unknown>>()
  const inFlight: Promise<void>[] = []
  for await (const line of lines) {
    if (failure || signal.aborted) break
    if ('problem' in line) {
      tally.nonsense.push({ line: line.number, text: line.problem })
      continue
    }
    const { number, transaction } = line
    const { account } = transaction
    const payee = transaction.kind === 'transfer' ? transaction.payee : account
    const slot = number % IN_FLIGHT
    await inFlight[slot]
    const done = carryOut(number, transaction, [last.get(account), incoming.get(account), last.get(payee)])
    inFlight[slot] = done
    last.set(account, done)
    incoming.delete(account)
    if (payee !== account) incoming.set(payee, Promise.all([incoming.get(payee), done]))
  }
  await Promise.all(inFlight)
  if (failure) throw failure.error
}

function declinedBefore(reason: string): Result {
  return { outcome: 'declined', reason, events: 0, decidedAgain: 0, balances: [] }
}

/** An account has one teller, who has its state at hand. */
function tellerOf({ account }: Transaction, tellers: readonly Teller[]): Teller {
  let hash = 0
  for (const character of account) hash = (hash * 31 + character.charCodeAt(0)) >>> 0
  return tellers[hash % tellers.length]!
}
