import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { sqliteStore } from 'mneme/sqlite'
import { expect, test } from 'vitest'

import { BrokenPipe } from '../src/cli/terminal.ts'
import { mneme, model, tallies } from './mneme.ts'
import { testFolder } from '../../test/stores/sqlite/folder.ts'

/** A file with three accounts, one of which has a name and an owner that would turn a terminal's colours and text around. */
async function openBank() {
  const folder = testFolder()
  const file = join(folder, 'bank.db')
  const store = await sqliteStore(file)
  const opened = (owner: string) => ({ type: 'Account.Opened', data: { owner } })
  const paid = (amount: number) => ({ type: 'Account.Paid', data: { amount } })
  await store.append({ stream: 'Account-a', events: [opened('Ada'), paid(5), paid(7)] as never })
  await store.append({ stream: 'Account-\u202eevil', events: [opened('\u202eevil\u001b[2J')] as never })
  await store.append({ stream: 'Till-1', events: [{ type: 'Till.Opened', data: {} }] as never })
  return { folder, file, url: `sqlite:${file}`, store }
}

test('streams are listed, and a page begins behind another one', async () => {
  const { url, store } = await openBank()
  const all = await mneme(['ls', url])
  expect(all.out.split('\n').map((line) => line.trimEnd())).toEqual([
    'events  revision  stream',
    '     3         2  Account-a',
    '     1         0  Account-\\u202eevil',
    '     1         0  Till-1',
    '',
  ])
  const rest = await mneme(['ls', url, '--after', 'Account-b', '-n', '1', '-c', 'Till', '--json'])
  expect(JSON.parse(rest.out)).toMatchObject({ stream: 'Till-1', events: 1 })
  await store.close()
})

test('events are read of a stream, of categories and types, forwards and backwards', async () => {
  const { url, store } = await openBank()
  const revisions = async (...args: string[]) => {
    const { out } = await mneme(['read', url, ...args, '--json'])
    return out
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { revision: number }).revision)
  }
  expect(await revisions('Account-a')).toEqual([0, 1, 2])
  expect(await revisions('Account-a', '--from', '1', '-n', '1')).toEqual([1])
  expect(await revisions('-t', 'Account.Paid', '--backwards')).toEqual([2, 1])
  expect(await revisions('-c', 'Till', '-c', 'Account', '-n', '4')).toEqual([0, 1, 2, 0])
  await store.close()
})

test('names and values never reach the terminal with control characters', async () => {
  const { url, store } = await openBank()
  for (const args of [['ls'], ['read'], ['read', '--full'], ['tail'], ['stats']]) {
    const { out } = await mneme([args[0]!, url, ...args.slice(1)], { columns: 200, env: { NO_COLOR: '1' } })
    // eslint-disable-next-line no-control-regex -- these are what is looked for
    expect(out.replaceAll('\n', ''), args.join(' ')).not.toMatch(/[\u0000-\u001f\u202e]/)
  }
  const owner = 'C1 \u009b2J, right to left \u202e, a tag \u{e0041}, a note \ufffa, a vowel separator \u180e'
  await store.append({ stream: 'Account-c', events: [{ type: 'Account.Opened', data: { owner } }] as never })
  for (const args of [['read', '--json'], ['export'], ['tail', '--json']]) {
    const { out } = await mneme([args[0]!, url, ...args.slice(1)])
    const line = out.trim().split('\n').at(-1)!
    expect(line, args.join(' ')).toMatch(/^[\u0020-\u007e]+$/)
    expect(JSON.parse(line), args.join(' ')).toMatchObject({ data: { owner } })
  }
  await store.close()
})

test('a terminal has colours and lines no wider than itself, a pipe has neither limit nor colour', async () => {
  const { url, store } = await openBank()
  const narrow = await mneme(['read', url], { columns: 40, env: { NO_COLOR: '1' } })
  expect(Math.max(...narrow.out.split('\n').map((line) => line.length))).toBe(40)
  expect((await mneme(['read', url], { columns: 80 })).out).toContain('\u001b[2m')
  const piped = await mneme(['read', url])
  expect(piped.out).not.toContain('\u001b')
  expect(piped.out).toContain('{"owner":"Ada"}')
  expect(narrow.out.split('\n')[1]).toBe('Account-a    0  Account.…  {"owner":"Ad…')
  await store.close()
})

test('the last events are shown, then each new one until the command is interrupted', async () => {
  const { url, store } = await openBank()
  const ending = new AbortController()
  let lines = 0
  const wrote = () => {
    lines++
    // A header and two events, then the new one.
    if (lines === 3)
      void store.append({ stream: 'Till-1', events: [{ type: 'Till.Closed', data: {} }] as never })
    if (lines === 4) ending.abort()
  }
  const { out, code } = await mneme(['tail', url, '-n', '2', '-f'], { signal: ending.signal, wrote })
  expect(code).toBe(130)
  expect(out.split('\n').filter((line) => line.includes('Till.'))).toHaveLength(2)
  await store.close()
})

test('a state is folded by the model, as of any revision', async () => {
  const { url, store } = await openBank()
  const now = await mneme(['state', url, 'Account-a', '-m', model, '--json'])
  expect(JSON.parse(now.out)).toEqual({ stream: 'Account-a', revision: 2, state: { balance: 12 } })
  const then = await mneme(['state', url, 'Account-a', '-m', model, '--at', '1', '--json'])
  expect(JSON.parse(then.out)).toEqual({ stream: 'Account-a', revision: 1, state: { balance: 5 } })
  const changed = await mneme(['state', url, 'Account-a', '-m', model, '--at', '2', '--diff'])
  expect(changed.out).toBe('- .balance: 5\n+ .balance: 12\n')
  const later = await mneme(['state', url, 'Account-a', '-m', model, '--at', '9'])
  expect([later.code, later.err]).toEqual([2, "mneme: 'Account-a' has no revision 9: its head is 2\n"])
  const other = await mneme(['state', url, 'Till-1', '-m', model])
  expect([other.code, other.err]).toEqual([
    2,
    "mneme: no aggregate of the model has streams like 'Till-1'; there are: Account\n",
  ])
  await store.close()
})

test('a state of a class, with a Map, a Set, a bigint and a Date, is shown whole, and what an event changed in it', async () => {
  const { url, store } = await openBank()
  const counted = (name: string) => ({
    type: 'Tally.Counted',
    data: { name, at: '2026-01-02T03:04:05.000Z' },
  })
  await store.append({ stream: 'Tally-t', events: [counted('a'), counted('\u202eb')] })
  const shown = await mneme(['state', url, 'Tally-t', '-m', tallies, '--json'])
  expect(JSON.parse(shown.out)).toEqual({
    stream: 'Tally-t',
    revision: 1,
    state: { byName: { a: '1', '\u202eb': '1' }, names: ['a', '\u202eb'], last: '2026-01-02T03:04:05.000Z' },
  })
  const changed = await mneme(['state', url, 'Tally-t', '-m', tallies, '--diff'])
  expect(changed.out).toBe('+ .byName.\\u202eb: "1"\n+ .names[1]: "\\u202eb"\n')
  const first = await mneme(['state', url, 'Tally-t', '-m', tallies, '--at', '0', '--diff', '--json'])
  expect(JSON.parse(first.out)).toEqual({
    stream: 'Tally-t',
    revision: 0,
    changes: [
      { path: '.byName.a', after: '1' },
      { path: '.names[0]', after: 'a' },
      { path: '.last', after: '2026-01-02T03:04:05.000Z' },
    ],
  })
  await store.close()
})

test('what an event follows from and what follows from it is a tree, and so is a correlation', async () => {
  const { url, store } = await openBank()
  const append = async (type: string, causation?: string) => {
    const metadata = { correlation: 'order 7', ...(causation !== undefined && { causation }) }
    const { events } = await store.append(
      { stream: 'Order-7', events: [{ type, data: {} }] as never },
      { metadata },
    )
    return events[0]!.id
  }
  const placed = await append('Order.Placed')
  const paid = await append('Order.Paid', placed)
  await append('Order.Noted', placed)
  await append('Order.Shipped', paid)
  await append('Order.Mailed', paid)
  const tree = async (wanted: string) => {
    const { out } = await mneme(['trace', url, wanted, '--json'])
    const rows = out.trim().split('\n')
    return rows
      .map((line) => JSON.parse(line) as { depth: number; type: string })
      .map(({ depth, type }) => [depth, type])
  }
  const whole = [
    [0, 'Order.Placed'],
    [1, 'Order.Paid'],
    [2, 'Order.Shipped'],
    [2, 'Order.Mailed'],
    [1, 'Order.Noted'],
  ]
  expect(await tree(placed)).toEqual(whole)
  expect(await tree('order 7')).toEqual(whole)
  expect(await tree(paid)).toEqual(whole.slice(0, 4))
  expect((await mneme(['trace', url, 'nothing'])).code).toBe(2)
  await store.close()
})

test('a check ends with 4 if it finds something', async () => {
  const { url, store } = await openBank()
  expect((await mneme(['check', url, '-m', model])).code).toBe(0)
  await store.append({ stream: 'Account-a', events: [{ type: 'Account.Gone', data: {} }] as never })
  const { code, out, err } = await mneme(['check', url, '-m', model, '--json'])
  expect([code, JSON.parse(out)]).toEqual([
    4,
    expect.objectContaining({ kind: 'unknown-type', type: 'Account.Gone' }),
  ])
  expect(err).toContain('1 finding.')
  expect(err).not.toContain('checked, up to')
  const onTerminal = await mneme(['check', url, '-m', model], { columns: 80 })
  expect(onTerminal.err).toMatch(/6 events checked, up to \d{4}-\d\d-\d\d; 1 kind of finding/)
  expect((await mneme(['check', url, '-m', model, '--after', 'zzz'])).code).not.toBe(0)
  await store.close()
})

test('events are counted by type, and exported as lines', async () => {
  const { url, store } = await openBank()
  const { out } = await mneme(['stats', url, '--json'])
  const rows = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string; events: number })
  expect(rows.map(({ type, events }) => [type, events])).toEqual([
    ['Account.Opened', 2],
    ['Account.Paid', 2],
    ['Till.Opened', 1],
  ])
  expect((await mneme(['export', url])).out.trim().split('\n')).toHaveLength(5)
  await store.close()
})

test('a store is copied into another one, verified, and only if it may be written', async () => {
  const { url, store, folder } = await openBank()
  const to = `sqlite:${join(folder, 'copy.db')}`
  expect(await mneme(['copy', url, to])).toMatchObject({
    code: 2,
    err: expect.stringContaining('--write') as string,
  })
  expect(existsSync(join(folder, 'copy.db'))).toBe(false)
  const first = await mneme(['copy', url, to, '--write', '--verify', '--json'])
  expect([first.code, JSON.parse(first.out)]).toMatchObject([
    0,
    { appended: 5, comparison: { isSame: true } },
  ])
  const again = await mneme(['copy', url, to, '--dry-run', '--json'])
  expect(JSON.parse(again.out)).toMatchObject({ appended: 0 })
  await store.append({ stream: 'Account-b', events: [{ type: 'Account.Opened', data: {} }] as never })
  const ending = new AbortController()
  const follow = mneme(['copy', url, to, '--write', '--follow'], {
    signal: ending.signal,
    noted: (text) => text.startsWith('caught up') && ending.abort(),
  })
  expect(await follow).toMatchObject({
    code: 130,
    err: expect.stringContaining('Run the same command again') as string,
  })
  expect((await mneme(['ls', to])).out).toContain('Account-b')
  await store.close()
})

test('a URL may come from the environment, and a wrong one is an error that makes no file and tells no password', async () => {
  const { url, store, folder } = await openBank()
  expect((await mneme(['ls'], { env: { MNEME_URL: url } })).code).toBe(0)
  const missing = await mneme(['ls', `sqlite:${join(folder, 'typo.db')}`])
  expect([missing.code, missing.err]).toEqual([3, `mneme: ${join(folder, 'typo.db')} does not exist\n`])
  expect(existsSync(join(folder, 'typo.db'))).toBe(false)
  expect(readdirSync(folder).filter((name) => name.startsWith('typo'))).toEqual([])
  const bare = await mneme(['ls', 'bank.db'])
  expect([bare.code, bare.err]).toEqual([2, expect.stringContaining("a file is 'sqlite:bank.db'")])
  const secret = await mneme(['ls', 'postgres://me:hidden@127.0.0.1:x/bank'])
  expect(secret.code).toBeGreaterThan(0)
  expect(secret.err).not.toContain('hidden')
  await store.close()
})

test('no error repeats a password, wherever its URL was typed and whatever characters it has', async () => {
  const urls = [
    'postgres://me:hidden@127.0.0.1:x/bank',
    'postgres://me:open hidden@127.0.0.1:x/bank',
    'postgres://me:hidden@hidden@127.0.0.1:x/bank',
    'postgres://me@example.com:hidden@127.0.0.1:x/bank',
    'postgres://127.0.0.1:x/bank?user=me&password=open hidden&sslmode=disable',
    'kurrentdb://me:hidden@',
  ]
  for (const url of urls) {
    for (const args of [
      [url],
      [url, 'ls'],
      ['ls', url],
      ['ls', `--url=${url}`],
      ['ls', '-n', url],
      ['ls', 'sqlite:bank.db', url],
      ['copy', 'sqlite:bank.db', url, '--dry-run'],
    ]) {
      const { code, err } = await mneme(args)
      expect(code, args.join(' ')).toBeGreaterThan(0)
      expect(err, args.join(' ')).not.toContain('hidden')
    }
    expect((await mneme(['ls'], { env: { MNEME_URL: url } })).err).not.toContain('hidden')
  }
  const mistyped = await mneme(['ls', 'postgers:me:hidden@127.0.0.1/bank'])
  expect(mistyped.err).not.toContain('hidden')
})

test('wrong options and verbs end with 2, help with 0, and a reader that goes away with 0', async () => {
  const { url, store } = await openBank()
  expect(await mneme(['lst'])).toMatchObject({
    code: 2,
    err: expect.stringContaining('Did you mean ls?') as string,
  })
  expect(await mneme(['read', url, 'a', 'b'])).toMatchObject({
    code: 2,
    err: 'mneme: too many arguments: b\n',
  })
  expect((await mneme(['read', url, '-n', '1.5'])).code).toBe(2)
  for (const args of [
    ['read', url, 'Account-x'],
    ['state', url, 'Account-x', '-m', model],
  ]) {
    expect(await mneme(args)).toMatchObject({
      code: 2,
      err: "mneme: the store has no event of a stream 'Account-x'\n",
    })
  }
  expect(await mneme(['--help'])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/ read \[url\] \[stream\] \[options\] [^]*Exit codes/) as string,
  })
  const wrote = () => {
    throw new BrokenPipe()
  }
  expect(await mneme(['read', url], { wrote })).toMatchObject({ code: 0, err: '' })
  await store.close()
})
