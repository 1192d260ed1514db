import { open, type FileHandle } from 'node:fs/promises'

import type { Account } from './account.ts'

/** One line of the file. Plain data, so that it can be handed to another process. */
export type Transaction = {
  readonly id: string
  readonly account: string
  /** In hundredths, above zero. */
  readonly amount: number
  /** What the bank calls it; its kind, where the file does not say. */
  readonly operation: string
  /** The day, like 1993-01-31, where the file says so. */
  readonly date?: string
  /** What the account holds afterwards, where the file says so. */
  readonly balance?: number
} & (
  | { readonly kind: 'open'; readonly overdraft: Account['overdraft'] }
  | { readonly kind: 'deposit' | 'withdrawal' }
  | { readonly kind: 'transfer'; readonly payee: string }
)

/** A line that was understood, or what is wrong with it. */
export type Line = { readonly number: number } & (
  { readonly transaction: Transaction } | { readonly problem: string }
)

/**
 * Opens a file of transactions, which is read line by line, however long it is. Its first line names the
 * columns, in any order: `transaction`, `account`, `kind` and `amount` are needed; `payee` is that of a
 * transfer, `overdraft` the limit of an account to open, `operation` and `date` tell more of a movement.
 *
 * A file with a column `balance` is a bank's own statement. It has no line to open an account: its first
 * deposit does, and it says nothing of limits, so there is none.
 */
export async function openTransactions(path: string): Promise<AsyncIterable<Line>> {
  const texts = (await openFile(path)).readLines()[Symbol.asyncIterator]()
  const header = await texts.next()
  // No field holds a comma or a quote, so `split` will do. Take a CSV library where one may.
  const columns = header.done ? [] : header.value.split(',')
  const missing = ['transaction', 'account', 'kind', 'amount'].find((name) => !columns.includes(name))
  if (missing !== undefined) throw new Error(`${path}: line 1 names no column '${missing}'`)
  return readLines(columns, texts)
}

async function* readLines(columns: readonly string[], texts: AsyncIterable<string>): AsyncGenerator<Line> {
  let number = 1
  const lineOf = new Map<string, number>()
  const opened = new Set<string>()
  for await (const text of texts) {
    number++
    if (text === '') continue
    const parsed = parse(columns, text)
    if (typeof parsed === 'string') {
      yield { number, problem: parsed }
      continue
    }
    const { id, account } = parsed
    const before = lineOf.get(id)
    if (before !== undefined) {
      yield { number, problem: `transaction ${id} was on line ${before} already` }
      continue
    }
    lineOf.set(id, number)
    const opens = parsed.kind === 'deposit' && parsed.balance !== undefined && !opened.has(account)
    opened.add(account)
    yield { number, transaction: opens ? { ...parsed, kind: 'open', overdraft: 'unlimited' } : parsed }
  }
}

async function openFile(path: string): Promise<FileHandle> {
  let file
  try {
    file = await open(path)
  } catch (error) {
    const reason =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : String(error)
    throw new Error(`cannot read ${path}: ${reason}`, { cause: error })
  }
  if ((await file.stat()).isDirectory()) throw new Error(`cannot read ${path}: it is a folder`)
  return file
}

/** Returns what is wrong where it makes no sense. */
function parse(columns: readonly string[], text: string): Transaction | string {
  const fields = text.split(',')
  if (fields.length !== columns.length) return `${fields.length} fields where ${columns.length} are named`
  const field = (name: string) => fields[columns.indexOf(name)] ?? ''

  const [id, account, kind, amount] = ['transaction', 'account', 'kind', 'amount'].map(field)
  if (!NAME.test(id!)) return `no transaction: '${id}'`
  if (!NAME.test(account!)) return `no account: '${account}'`
  if (!/^[1-9]\d{0,14}$/.test(amount!)) return `the amount is no whole number above zero: '${amount}'`
  const date = field('date')
  if (!/^(?:\d{4}-\d\d-\d\d)?$/.test(date)) return `no date: '${date}'`
  const movement = {
    id: id!,
    account: account!,
    amount: Number(amount),
    operation: field('operation') || kind!,
    ...(date !== '' && { date }),
  }

  const balance = field('balance')
  if (columns.includes('balance') && !/^-?\d{1,15}$/.test(balance)) return `no balance: '${balance}'`
  const expected = balance === '' ? {} : { balance: Number(balance) }

  const overdraft = field('overdraft')
  const payee = field('payee')
  switch (kind) {
    case 'open':
      if (!/^\d{0,15}$/.test(overdraft)) return `no limit of an overdraft: '${overdraft}'`
      return { ...movement, ...expected, kind, overdraft: Number(overdraft) }
    case 'deposit':
    case 'withdrawal':
      return { ...movement, ...expected, kind }
    case 'transfer':
      if (!NAME.test(payee)) return `no payee: '${payee}'`
      if (payee === account) return `a transfer from ${payee} to itself`
      return { ...movement, ...expected, kind, payee }
    default:
      return `unknown kind: '${kind}'`
  }
}

const NAME = /^[\w-]{1,64}$/
