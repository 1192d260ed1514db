import type { Check } from './check.ts'
import type { BankReport } from './read-models.ts'
import { bold, count, green, money, red, whole } from './format.ts'
import type { Remark, Tally } from './tally.ts'

/** How many of a list are shown. */
const FIRST = 5

/** Prints what a run came to. */
export function report(tally: Tally, seconds: number): void {
  const { outcomes, reasons, nonsense, balances, events, conflicts } = tally

  console.log(bold(`${count(tally.lines, 'line')} in ${seconds.toFixed(1)} s`))
  row(whole(outcomes.done), 'done')
  row(whole(outcomes['done before']), 'done before, in an earlier run')
  row(whole(outcomes.declined), `declined${outcomes.declined > 0 ? `: ${list(reasons)}` : ''}`)
  row(whole(nonsense.length), 'made no sense')
  for (const remark of first(nonsense)) row('', remark)

  const richest = [...balances.values()].sort((a, b) => b.balance - a.balance)
  const total = richest.reduce((sum, { balance }) => sum + balance, 0)
  console.log(bold(`\n${count(balances.size, 'account')} with ${money(total)} in all`))
  for (const { account, balance } of richest.slice(0, FIRST)) row(money(balance), account)
  if (richest.length > FIRST) row('', `and ${whole(richest.length - FIRST)} more`)

  const pace = events > 0 ? `, ${whole(events / seconds)} a second` : ''
  console.log(bold(`\n${count(events, 'event')} written${pace}`))
  row(whole(conflicts), `${conflicts === 1 ? 'conflict' : 'conflicts'} retried`)
}

/** Prints what the read models say. */
export function reportReadModels({ accounts, total, turnover, days, overdrawn }: BankReport): void {
  console.log(bold('\nRead models'))
  row(whole(accounts), `accounts hold ${money(total)} in all`)
  for (const { operation, movements, amount } of turnover.slice(0, FIRST)) {
    row(money(amount), `${operation}, in ${count(movements, 'movement')}`)
  }
  if (turnover.length > FIRST) row('', `and ${count(turnover.length - FIRST, 'more kind')} of operation`)
  row(whole(days), `${days === 1 ? 'day' : 'days'} with movements`)
  const [lowest] = overdrawn
  const detail = lowest ? `, ${lowest.account} down to ${money(lowest.lowest)}` : ''
  row(
    whole(overdrawn.length),
    `${overdrawn.length === 1 ? 'account was' : 'accounts were'} overdrawn${detail}`,
  )
}

/** Prints whether what was reported is true. Returns whether it is. */
export function reportCheck(tally: Tally, { accounts, events, wrong }: Check): boolean {
  const { compared, differences } = tally
  console.log(bold('\nChecked'))
  verdict(
    wrong.length === 0,
    `${count(accounts, 'account')} rebuilt from ${count(events, 'event')}: all hold what is reported`,
    `${count(wrong.length, 'account')} of ${whole(accounts)}, rebuilt from events, not what is reported`,
  )
  for (const { account, reported, rebuilt } of wrong.slice(0, FIRST)) {
    row(
      '',
      `${account}: reported ${money(reported)}, rebuilt ${rebuilt === undefined ? 'none' : money(rebuilt)}`,
    )
  }
  if (compared > 0) {
    verdict(
      differences.length === 0,
      `${count(compared, 'balance')} after each line: all are what the file says`,
      `${count(differences.length, 'balance')} of ${whole(compared)} not what the file says`,
    )
    for (const remark of first(differences)) row('', remark)
  }
  return wrong.length === 0 && differences.length === 0
}

function verdict(ok: boolean, good: string, bad: string): void {
  row(ok ? green('ok') : red('WRONG'), ok ? good : bad, ok ? 'ok' : 'WRONG')
}

/** A figure, right-aligned, and what it means. `plain` is the figure without its colour. */
function row(figure: string, meaning: string, plain = figure): void {
  console.log(`${' '.repeat(Math.max(0, 16 - plain.length))}${figure}  ${meaning}`)
}

/** The first of some remarks, in the order of the file. */
function first(remarks: readonly Remark[]): string[] {
  const shown = [...remarks].sort((a, b) => a.line - b.line).slice(0, FIRST)
  const more = remarks.length - shown.length
  return [
    ...shown.map(({ line, text }) => `line ${line}: ${text}`),
    ...(more > 0 ? [`and ${whole(more)} more`] : []),
  ]
}

function list(reasons: ReadonlyMap<string, number>): string {
  return [...reasons]
    .sort(([one, a], [other, b]) => b - a || one.localeCompare(other))
    .map(([reason, n]) => `${whole(n)} ${reason}`)
    .join(', ')
}
