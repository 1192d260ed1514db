import { Client } from '@modelcontextprotocol/client'
import { StdioServerTransport } from '@modelcontextprotocol/server/stdio'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { sqliteStore } from 'mneme/sqlite'
import { expect, test } from 'vitest'

import { testFolder } from '../../test/stores/sqlite/folder.ts'
import { fillShop } from './inspector/shop.ts'
import { mneme } from './mneme.ts'

const shop = join(import.meta.dirname, 'inspector/shop.ts')

/** The official client, speaking to the command through its standard input and output. */
async function connected(args: readonly string[], work: (client: Client) => Promise<void>) {
  const [stdin, stdout] = [new PassThrough(), new PassThrough()]
  const ended = mneme(['mcp', ...args], { pipes: { stdin, stdout } })
  const client = new Client({ name: 'test', version: '1' })
  // What frames messages for a server frames them for a client, too.
  await client.connect(new StdioServerTransport(stdout, stdin))
  await work(client)
  stdin.end()
  expect(await ended).toEqual({ code: 0, out: '', err: '' })
}

async function openShop() {
  const file = join(testFolder(), 'shop.db')
  const store = await sqliteStore(file)
  await fillShop(store, 6)
  return { store, url: `sqlite:${file}` }
}

test('a language model reads a store, folds states of any time, and tries commands, without writing', async () => {
  const { store, url } = await openShop()
  const head = await store.logHead()
  await connected([url, '-m', shop], async (client) => {
    const { tools } = await client.listTools()
    expect(tools.every(({ annotations }) => annotations?.readOnlyHint === true)).toBe(true)
    const answers = new Map<string, unknown>()
    const calls: readonly [string, Record<string, unknown>, unknown][] = [
      ['describe_store', {}, { name: 'shop.db', head, write: false }],
      ['list_categories', {}, { categories: ['Order', 'Stock'] }],
      ['list_streams', { category: 'Order', limit: 1 }, { streams: [{ stream: 'Order-1001', events: 3 }] }],
      ['read_stream', { stream: 'Order-1001', from: 1, limit: 1 }, { events: [{ type: 'Order.Paid' }] }],
      ['read_log', { types: ['Order.Cancelled'] }, { events: [{ stream: 'Order-1005' }] }],
      ['read_event', { stream: 'Order-1001', revision: 1 }, { data: { value: { method: 'card' } } }],
      [
        'read_value',
        { of: { part: 'data', stream: 'Order-1001', revision: 0 }, path: ['address', 'city'] },
        { value: 'London' },
      ],
      [
        'read_value',
        { of: { part: 'state', stream: 'Order-1001', revision: 1 }, path: ['status'] },
        { value: 'paid' },
      ],
      [
        'state_at',
        { stream: 'Order-1001', revision: 1 },
        {
          state: { value: { status: 'paid' } },
          changes: [{ path: ['status'], before: { value: 'placed' }, after: { value: 'paid' } }],
        },
      ],
      [
        'try_command',
        { command: 'order.cancel', with: { order: '1001', reason: 'why not' } },
        { outcome: 'rejected', rejection: { value: { reason: 'on-its-way' } } },
      ],
    ]
    for (const [name, input, expected] of calls) {
      const { structuredContent, content } = await client.callTool({ name, arguments: input })
      expect(structuredContent, name).toMatchObject(expected as object)
      expect(content, name).toEqual([{ type: 'text', text: JSON.stringify(structuredContent) }])
      answers.set(name, structuredContent)
    }
    expect(tools.map(({ name }) => name).sort()).toEqual([...answers.keys()].sort())
  })
  expect(await store.logHead()).toBe(head)
  await store.close()
})

test('what a language model asks for wrongly is said, rows are capped, and without a model there are no states', async () => {
  const { store, url } = await openShop()
  await store.append({
    stream: 'Note-1',
    events: [{ type: 'Note.Written', data: { text: 'x'.repeat(100_000) } }] as never,
  })
  await connected([url], async (client) => {
    const call = async (name: string, input: Record<string, unknown>) => {
      const { isError, content, structuredContent } = await client.callTool({ name, arguments: input })
      return { isError, text: (content as { text: string }[])[0]?.text, structuredContent }
    }
    expect(await call('read_event', { stream: 'Order-9', revision: 0 })).toEqual({
      isError: true,
      text: "'Order-9' has no event of revision 0",
      structuredContent: undefined,
    })
    expect(await call('read_stream', { stream: 'Order-1001', limit: 1_000_000 })).toMatchObject({
      isError: true,
      text: expect.stringContaining('limit') as string,
    })
    const { text } = await call('read_event', { stream: 'Note-1', revision: 0 })
    expect(text!.length).toBeLessThan(5_000)
    expect(text).toContain('"size":100000')
    const { tools } = await client.listTools()
    expect(tools.map(({ name }) => name)).not.toContain('state_at')
    expect(tools.map(({ name }) => name)).not.toContain('try_command')
  })
  await store.close()
})
