import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { openStore } from 'mneme'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { withoutPassword } from '../../examples/bank/format.ts'
import { readModelsOf } from '../../examples/bank/read-models.ts'
import { realServer } from '../stores/kurrentdb/server.ts'
import { standIn } from '../stores/kurrentdb/stand-in/server.ts'
import { serverProblem, testServer } from '../stores/postgres/server.ts'
import { isFull } from '../support/soak.ts'

const program = fromRoot('build/examples/bank/main.js')
const bundled = fromRoot('examples/bank/transactions.csv')
const real = process.env.MNEME_DATA ?? fromRoot('../shared/data/bank-1993.csv')

/** How many rows of it `npm test` plays through; `npm run test:soak` plays all. */
const SLICE = 4_000

/** How far it is, every two seconds. */
const PROGRESS = /^(?:[\d,]+ lines, [\d,]+ a second\n)*$/

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mneme-bank-'))
})

afterEach(() => rm(folder, { recursive: true, force: true }))

describe('the bundled file', () => {
  test('ends at the balances and rejections that plain arithmetic gives', async () => {
    const expected = calculate(await readFile(bundled, 'utf8'))
    const { code, stdout, stderr } = await bank()
    expect(code).toBe(0)
    expect(stderr).toMatch(PROGRESS)
    expect(await balancesInStore()).toEqual(expected.balances)
    expect(figures(stdout)).toMatchObject({
      done: expected.done,
      doneBefore: 0,
      declined: expected.declined.size,
      nonsense: expected.nonsense,
    })
    for (const [reason, times] of countOf(expected.declined.values())) {
      expect(stdout).toContain(`${String(times)} ${reason}`)
    }
    expect(stdout).toContain(`${String(expected.balances.size)} accounts rebuilt from`)
    expect((await readModelsIn()).balances).toEqual(expected.balances)
    expect(stdout).toContain(`${String(expected.balances.size)}  accounts hold`)
  })

  test('is found done by the next run, which appends nothing and reports the same', async () => {
    const first = await bank()
    const log = await readLog()
    const again = await bank()
    expect(again.code).toBe(0)
    expect(await readLog()).toEqual(log)
    const { done, doneBefore, ...others } = figures(first.stdout)
    expect(figures(again.stdout)).toEqual({ ...others, done: 0, doneBefore: done + doneBefore, written: 0 })
    expect(accountsPart(again.stdout)).toBe(accountsPart(first.stdout))
  })

  test.each(['SIGKILL', 'SIGINT'] as const)(
    'is done in full by a run after one ended by %s',
    { timeout: 120_000 },
    async (signal) => {
      const expected = calculate(await readFile(bundled, 'utf8'))
      const ended = await bank([], { signal, afterEvents: 100 })
      expect(ended.code).toBe(signal === 'SIGINT' ? 130 : null)
      const half = (await readLog()).length
      expect(half).toBeGreaterThanOrEqual(100)

      const { code, stdout } = await bank()
      expect(code).toBe(0)
      expect(await balancesInStore()).toEqual(expected.balances)
      expect(await declinedInStore()).toEqual(expected.declined)
      const { done, doneBefore } = figures(stdout)
      expect(done + doneBefore).toBe(expected.done)
      expect(done).toBeGreaterThan(0)
      expect(doneBefore).toBeGreaterThan(0)
    },
  )

  test.skipIf(serverProblem)(
    'runs on PostgreSQL by its URL, and is found done by the next run',
    { timeout: 120_000 },
    async () => {
      const server = await testServer()
      const url = await server.createDatabase()
      const expected = calculate(await readFile(bundled, 'utf8'))
      const first = await bank(['--store', url])
      expect(first.code).toBe(0)
      expect(first.stderr).toMatch(PROGRESS)
      expect(first.stdout).not.toContain(server.password)
      expect(await balancesInStore(url)).toEqual(expected.balances)
      expect((await readModelsIn(url)).balances).toEqual(expected.balances)
      const again = await bank(['--store', url])
      expect(figures(again.stdout)).toMatchObject({ done: 0, written: 0 })
      expect(accountsPart(again.stdout)).toBe(accountsPart(first.stdout))
    },
  )

  const where = realServer === undefined ? 'on the stand-in' : 'on the real server'
  test(
    `runs on KurrentDB by its URL, ${where}, and is found done by the next run`,
    { timeout: 120_000 },
    async () => {
      await using server = realServer === undefined ? await standIn() : undefined
      const url = realServer ?? server!.connectionString
      // On a server that others use, too, accounts and transactions have names of their own.
      const own = `${crypto.randomUUID()}-`
      const csv = renamed(await readFile(bundled, 'utf8'), own)
      const file = await write([csv])
      const expected = calculate(csv)
      const first = await bank([file, '--store', url])
      expect(first.code).toBe(0)
      expect(first.stderr).toMatch(PROGRESS)
      expect(first.stdout).toContain(` into ${withoutPassword(url)}, by two processes\n`)
      const balances = await balancesInStore(url)
      expect(new Map([...balances].filter(([account]) => account.startsWith(own)))).toEqual(expected.balances)
      const declined = await declinedInStore(url)
      expect(new Map([...declined].filter(([id]) => String(id).startsWith(own)))).toEqual(expected.declined)
      expect(figures(first.stdout)).toMatchObject({ done: expected.done, doneBefore: 0 })
      const again = await bank([file, '--store', url])
      expect(figures(again.stdout)).toMatchObject({ done: 0, doneBefore: expected.done, written: 0 })
      expect(accountsPart(again.stdout)).toBe(accountsPart(first.stdout))
    },
  )

  test('runs in memory, in one process', async () => {
    const { code, stdout } = await bank(['--store', 'memory:'])
    expect(code).toBe(0)
    expect(stdout).toContain('by one process')
    expect(existsSync(join(folder, 'bank.db'))).toBe(false)
  })
})

describe('lines that make no sense', () => {
  test('are reported by number, and the rest goes on', async () => {
    const file = await write([
      'transaction,kind,account,amount,payee,overdraft',
      '1,open,ann,1000,,',
      '2,refund,ann,1,,',
      '3,deposit,ann,0,,',
      '4,deposit,ann,-5,,',
      '5,deposit,ann,1e3,,',
      '6,deposit,ann',
      '7,deposit,ann,5,,,',
      '8,deposit,,5,,',
      '9,transfer,ann,5,,',
      '10,transfer,ann,5,ann,',
      ',deposit,ann,5,,',
      '12,open,bob,5,,-1',
      '1,deposit,ann,5,,',
      '',
      '13,deposit,ann,"5",,',
      '14,deposit,ann,99999999999999999999,,',
      '15,deposit,ann,5,,',
    ])
    const { code, stdout } = await bank([file])
    expect(code).toBe(0)
    expect(figures(stdout)).toMatchObject({ done: 2, declined: 0, nonsense: 14 })
    expect(stdout).toContain("line 3: unknown kind: 'refund'")
    expect(stdout).toContain("line 4: the amount is no whole number above zero: '0'")
    expect(stdout).toContain('line 7: 3 fields where 6 are named')
    expect(stdout).toContain('and 9 more')
    expect(await balancesInStore()).toEqual(new Map([['ann', 1005]]))
  })

  test('are noticed where a line was changed after it was done', async () => {
    const header = 'transaction,kind,account,amount'
    await bank([await write([header, '1,open,ann,1000', '2,deposit,ann,5'])])
    const { code, stdout } = await bank([await write([header, '1,open,ann,1000', '2,deposit,ann,50'])])
    expect(code).toBe(0)
    expect(figures(stdout)).toMatchObject({ doneBefore: 1, nonsense: 1, written: 0 })
    expect(stdout).toContain('line 3: transaction 2 was done before, but as something else')
  })
})

describe('a transaction that was declined', () => {
  test('stays declined in the next run, though the account could pay by then', async () => {
    const lines = [
      'transaction,kind,account,amount,overdraft',
      '1,open,ann,1000,500',
      '2,withdrawal,ann,1501,',
      '3,withdrawal,ann,1500,',
      '4,deposit,bob,5,',
      '5,open,bob,5,',
      '6,deposit,ann,9000,',
    ]
    const file = await write(lines)
    const first = await bank([file])
    expect(first.stdout).toContain('declined: 1 insufficient-funds, 1 not-open')
    const again = await bank([file])
    expect(again.stdout).toContain('declined: 1 insufficient-funds, 1 not-open')
    expect(figures(again.stdout)).toMatchObject({ doneBefore: 4, declined: 2, written: 0 })
    expect(await balancesInStore()).toEqual(
      new Map([
        ['ann', 8500],
        ['bob', 5],
      ]),
    )
  })
})

describe("a bank's own statement", () => {
  test('that does not add up is told by line, and fails', async () => {
    const file = await write([
      'transaction,account,kind,amount,balance',
      '1,7,deposit,1000,1000',
      '2,7,withdrawal,2500,-1500',
      '3,7,deposit,100,-1300',
    ])
    const { code, stdout } = await bank([file])
    expect(code).toBe(1)
    expect(stdout).toContain('1 balance of 3 not what the file says')
    expect(stdout).toContain('line 4: the balance should be -13.00, but it is -14.00')
  })

  test(
    isFull
      ? 'of all of 1993: after every row the balance is what the bank says'
      : `of the first ${String(SLICE)} rows of 1993: after every row the balance is what the bank says`,
    { timeout: 240_000 },
    async ({ skip }) => {
      if (!existsSync(real)) skip(`the file bank-1993.csv is not at hand; MNEME_DATA may say where it is`)
      const [header = '', ...all] = (await readFile(real, 'utf8')).trimEnd().split('\n')
      const rows = isFull ? all : all.slice(0, SLICE)
      const statement = [header, ...rows].join('\n')
      const accounts = new Set(rows.map((row) => fieldsOf(header, row).account)).size
      if (isFull) expect([rows.length, accounts]).toEqual([46_997, 1_229])
      const { code, stdout } = await bank([await write([statement])])
      expect(code).toBe(0)
      const count = rows.length.toLocaleString('en')
      expect(stdout).toContain(`${count} balances after each line: all are what the file says`)
      expect(figures(stdout)).toMatchObject({
        done: rows.length,
        declined: 0,
        nonsense: 0,
        written: rows.length + accounts,
      })

      const movements = new Map<string, number[]>()
      for (const { account, change } of await readMovements()) {
        const own = movements.get(account)
        if (own) own.push(change)
        else movements.set(account, [change])
      }
      const balances = new Map<string, number>()
      const wrong: string[] = []
      for (const row of rows) {
        const { account = '', balance } = fieldsOf(header, row)
        balances.set(account, (balances.get(account) ?? 0) + (movements.get(account)?.shift() ?? NaN))
        if (balances.get(account) !== Number(balance)) wrong.push(row)
      }
      expect(wrong).toEqual([])
      expect([...movements.values()].flat()).toEqual([])

      // Read models: as they came live, and built anew.
      const expected = readModelsOfStatement(statement)
      expect(await readModelsIn()).toEqual(expected)
      await rebuildReadModels()
      expect(await readModelsIn()).toEqual(expected)
      expect(stdout).toContain(`${String(expected.overdrawn.size)}  accounts were overdrawn`)
    },
  )
})

describe('what cannot be done is one clear error', () => {
  test.each([
    [['nowhere.csv'], /^cannot read nowhere\.csv: there is no such file$/],
    [['.'], /^cannot read \.: it is a folder$/],
    [['a.csv', 'b.csv'], /^one file at a time/],
    [['--colour'], /^Unknown option '--colour'/],
    [['--store', 'mysql://host'], /^url must be .*not "mysql:"$/],
    [['--store', 'sqlite:no/such/folder/bank.db'], /folder/],
  ])('%j', async (args, message) => {
    const { code, stdout, stderr } = await bank(args)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr.trimEnd().split('\n')).toEqual([expect.stringMatching(message)])
  })

  test.each(['', 'name,amount\n1,2\n'])('a file that is none of transactions: %j', async (text) => {
    await writeFile(join(folder, 'other.csv'), text)
    const { code, stderr } = await bank(['other.csv'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^other\.csv: line 1 names no column 'transaction'\n$/)
  })
})

test.each([
  ['sqlite:bank.db', 'sqlite:bank.db'],
  ['file:///var/bank.db', 'file:///var/bank.db'],
  ['postgres://bank:se@cr/et?@localhost/bank?password=secret', 'postgres://bank@localhost/bank'],
  ['kurrentdb://127.0.0.1:2113?tls=false', 'kurrentdb://127.0.0.1:2113'],
  [
    'kurrentdb+discover://bank:s%40cret@one:2113,two:2113?userKeyFile=k',
    'kurrentdb+discover://bank@one:2113,two:2113',
  ],
  ['esdb://admin:secret@localhost', 'esdb://admin@localhost'],
])('of %s only %s is shown', (url, shown) => {
  expect(withoutPassword(url)).toBe(shown)
})

test('--help says what to type', async () => {
  const { code, stdout } = await bank(['--help'])
  expect(code).toBe(0)
  expect(stdout).toContain('npm start -- [FILE] [--store URL] [--inspect]')
})

/** Runs the program in the folder; given a signal, ends it once the store has so many events. */
async function bank(args: readonly string[] = [], kill?: { signal: NodeJS.Signals; afterEvents: number }) {
  const child = spawn(process.execPath, [program, ...args], {
    cwd: folder,
    // Node 22 warns that its SQLite is experimental.
    env: { ...process.env, NODE_NO_WARNINGS: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const closed = new Promise<number | null>((resolve) => child.on('close', resolve))
  if (kill) {
    await using store = await openStore(inFolder())
    while (Number((await store.logHead()) ?? 0) < kill.afterEvents && child.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    child.kill(kill.signal)
  }
  return { code: await closed, stdout, stderr }
}

/** The figures of a report. */
function figures(stdout: string) {
  const figure = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1]?.replaceAll(',', '') ?? NaN)
  return {
    done: figure(/([\d,]+) {2}done$/m),
    doneBefore: figure(/([\d,]+) {2}done before/),
    declined: figure(/([\d,]+) {2}declined/),
    nonsense: figure(/([\d,]+) {2}made no sense/),
    written: figure(/([\d,]+) events? written/),
  }
}

function accountsPart(stdout: string): string | undefined {
  return stdout.split('\n\n').find((part) => part.includes('in all'))
}

async function readLog(url = inFolder()) {
  await using store = await openStore(url)
  const events = []
  for await (const { stream, type, data } of store.readAll()) {
    events.push({
      account: stream.replace('CurrentAccount-', ''),
      type,
      data: data as Record<string, unknown>,
    })
  }
  return events
}

function inFolder(): string {
  return `sqlite:${join(folder, 'bank.db')}`
}

async function readMovements(url?: string) {
  return (await readLog(url)).flatMap(({ account, type, data }) => {
    if (type === 'CurrentAccount.Deposited') return [{ account, change: Number(data.amount) }]
    if (type === 'CurrentAccount.Withdrawn') return [{ account, change: -Number(data.amount) }]
    return []
  })
}

async function balancesInStore(url?: string): Promise<Map<string, number>> {
  const balances = new Map<string, number>()
  for (const { account, change } of await readMovements(url)) {
    balances.set(account, (balances.get(account) ?? 0) + change)
  }
  return balances
}

async function declinedInStore(url?: string) {
  const declined = (await readLog(url)).filter(({ type }) => type === 'CurrentAccount.Declined')
  return new Map(declined.map(({ data }) => [data.transaction, data.reason]))
}

/** What the read models hold. */
async function readModelsIn(url = inFolder()) {
  const { target } = readModelsOf(url)
  await using _target = target
  const rowsOf = (table: string) => target.query(`SELECT * FROM ${table}`)
  const name = (account: unknown) => String(account).replace('CurrentAccount-', '')
  const [balances, turnover, overdrawn] = [
    await rowsOf('balances'),
    await rowsOf('turnover'),
    await rowsOf('overdrawn'),
  ]
  return {
    balances: new Map(balances.map(({ account, balance }) => [name(account), Number(balance)])),
    turnover: new Map(
      turnover.map(({ day, operation, movements, amount }) => [
        `${String(day)} ${String(operation)}`,
        [Number(movements), Number(amount)],
      ]),
    ),
    overdrawn: new Map(
      overdrawn
        .filter(({ times }) => Number(times) > 0)
        .map(({ account, times, lowest }) => [name(account), [Number(times), Number(lowest)]]),
    ),
  }
}

async function rebuildReadModels(): Promise<void> {
  await using store = await openStore(inFolder())
  const { target, projections } = readModelsOf(inFolder())
  await using _target = target
  for (const projection of projections) await projection.rebuild(store)
}

/** What a bank's own statement says of each read model, line by line: no events, no library. */
function readModelsOfStatement(csv: string) {
  const balances = new Map<string, number>()
  const turnover = new Map<string, number[]>()
  const overdrawn = new Map<string, number[]>()
  const [header, ...rows] = csv.trimEnd().split('\n')
  for (const row of rows) {
    const { account = '', date, kind, operation, amount, balance } = fieldsOf(header, row)
    balances.set(account, Number(balance))
    const day = `${String(date)} ${String(operation === '' ? kind : operation)}`
    const [movements = 0, sum = 0] = turnover.get(day) ?? []
    turnover.set(day, [movements + 1, sum + Number(amount)])
    if (Number(balance) >= 0) continue
    const [times = 0, lowest = 0] = overdrawn.get(account) ?? []
    overdrawn.set(account, [times + 1, Math.min(lowest, Number(balance))])
  }
  return { balances, turnover, overdrawn }
}

/** The same file with other names of accounts and transactions. */
function renamed(csv: string, prefix: string): string {
  const [header = '', ...rows] = csv.trimEnd().split('\n')
  const isName = header.split(',').map((column) => ['transaction', 'account', 'payee'].includes(column))
  const rename = (field: string, i: number) => (field !== '' && isName[i] ? prefix + field : field)
  return [header, ...rows.map((row) => row.split(',').map(rename).join(','))].join('\n')
}

/** What a file comes to, line by line: nothing in flight, no events, no library. */
function calculate(csv: string) {
  const balances = new Map<string, number>()
  const overdrafts = new Map<string, number>()
  const declined = new Map<string, string>()
  const seen = new Set<string>()
  let nonsense = 0
  let done = 0
  const [header, ...rows] = csv.trimEnd().split('\n')
  for (const row of rows) {
    const { transaction: id, kind, account, amount: text, payee, overdraft } = fieldsOf(header, row)
    const amount = Number(text)
    const known = ['open', 'deposit', 'withdrawal', 'transfer'].includes(kind ?? '')
    const whole = Number.isInteger(amount) && amount > 0
    if (!id || !account || payee === undefined || !known || !whole || payee === account || seen.has(id)) {
      nonsense++
      continue
    }
    seen.add(id)
    const balance = balances.get(account)
    const takes = kind === 'withdrawal' || kind === 'transfer'
    if (kind === 'open' && balance !== undefined) declined.set(id, 'already-open')
    else if (kind !== 'open' && balance === undefined) declined.set(id, 'not-open')
    else if (kind === 'transfer' && !balances.has(payee)) declined.set(id, 'unknown-payee')
    else if (takes && amount > (balance ?? 0) + (overdrafts.get(account) ?? 0)) {
      declined.set(id, 'insufficient-funds')
    } else {
      done++
      balances.set(account, (balance ?? 0) + (takes ? -amount : amount))
      if (kind === 'open') overdrafts.set(account, Number(overdraft))
      if (kind === 'transfer') balances.set(payee, (balances.get(payee) ?? 0) + amount)
    }
  }
  return { balances, declined, nonsense, done }
}

function fieldsOf(header = '', row: string): Record<string, string | undefined> {
  const fields = row.split(',')
  return Object.fromEntries(header.split(',').map((name, i) => [name, fields[i]]))
}

function countOf(items: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>()
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1)
  return counts
}

async function write(lines: readonly string[]): Promise<string> {
  const file = join(folder, 'transactions.csv')
  await writeFile(file, lines.join('\n') + '\n')
  return file
}

function fromRoot(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url))
}
