import { kurrentdbStore } from 'mneme/kurrentdb'
import { memoryStore } from 'mneme/memory'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'

import { standIn } from '../../../test/stores/kurrentdb/stand-in/server.ts'
import {
  browserProblem,
  closeBrowser,
  openInspector,
  overflow,
  picture,
  settle,
  violations,
} from './browser.ts'
import { runShop } from './read-models.ts'
import { cancel, fillShop, Order, pictureShop, place, Stock } from './shop.ts'

afterAll(closeBrowser)

async function openShop(look: Parameters<typeof openInspector>[1] & { write?: boolean } = {}) {
  const store = await pictureShop()
  onTestFinished(() => store.close())
  const readModels = await runShop(store)
  onTestFinished(() => readModels.close())
  const opened = await openInspector(
    {
      store,
      name: 'shop',
      aggregates: [Order, Stock],
      commands: [place, cancel],
      readModels,
      write: look.write,
    },
    look,
  )
  return { store, ...opened }
}

describe.skipIf(browserProblem)(`the page of the inspector ${browserProblem ?? ''}`, () => {
  test('takes the token out of the address, and keeps it for the next time', async () => {
    const { page, origin, expectComplaint } = await openShop()
    expect(page.url()).toBe(`${origin}/#`)
    await page.getByRole('link', { name: 'Order-1001', exact: true }).click()
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('Order-1001')
    await page.reload()
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('Order-1001')
    expectComplaint('401 (Unauthorized)')
    await page.evaluate('localStorage.clear()')
    await page.reload()
    await page.getByRole('heading', { name: 'Open the link that was printed' }).waitFor()
  })

  test('shows streams, their events and all of one, and the address leads back there', async () => {
    const { page, visit } = await openShop()
    await settle(page)
    await picture(page, 'inspector-streams')
    await page.getByLabel('Category').selectOption('Stock')
    await page.getByRole('button', { name: 'Show' }).click()
    await page.getByRole('link', { name: 'Stock-ink' }).click()
    await page.getByRole('button', { name: /Received/ }).click()
    await page.getByText('quantity').first().waitFor()
    const address = new URL(page.url()).hash
    await visit('#/')
    await visit(address)
    expect(await page.getByRole('button', { name: /Received/ }).getAttribute('aria-expanded')).toBe('true')
    await visit('#/stream/Order-1003?event=0%40Order-1003')
    await page.getByText('Marylebone').last().waitFor()
    await picture(page, 'inspector-stream')
    await visit('#/log?type=Order.Shipped')
    expect(await page.getByRole('list', { name: 'Events of the store' }).getByRole('listitem').count()).toBe(
      15,
    )
    await visit('#/log')
    await picture(page, 'inspector-log')
    await visit('#/throughput')
    await page.getByRole('img', { name: /Events in each/ }).waitFor()
    await page.getByRole('link', { name: 'Order.Shipped' }).waitFor()
    await picture(page, 'inspector-throughput')
  })

  test('goes through the states of a stream by the slider and the keyboard, with what each event has changed', async () => {
    const { page, visit } = await openShop()
    await visit('#/stream/Order-1003?tab=state')
    await page.getByRole('heading', { name: 'The state at revision 3' }).waitFor()
    const slider = page.getByRole('slider', { name: 'Revision' })
    await slider.focus()
    await page.keyboard.press('ArrowLeft')
    await page.getByRole('heading', { name: 'The state at revision 2' }).waitFor()
    await settle(page)
    const changed = page.locator('.changes')
    expect(await changed.locator('.change-path').allTextContents()).toEqual(['status', 'parcels[0]'])
    expect(await changed.locator('del').allTextContents()).toEqual(['before: “paid”'])
    expect(await changed.locator('ins').allTextContents()).toEqual(['after: “shipped”', 'after: “GB-1003”'])
    expect(await page.locator('.json .marked').count()).toBe(2)
    await picture(page, 'inspector-state')
    expect(new URL(page.url()).hash).toBe('#/stream/Order-1003?tab=state&at=2')
    await page.keyboard.press('Home')
    await page.getByText('which no event has changed yet').waitFor()
    await page.getByRole('button', { name: 'Forward' }).click()
    await page.getByText('Marylebone').first().waitFor()
    expect(await page.getByLabel('Revision', { exact: true }).last().inputValue()).toBe('0')
  })

  test('tries a command on the past with a form of its schema, and a link shows what came of it', async () => {
    const { store, page, visit } = await openShop()
    const head = await store.logHead()
    await visit('#/stream/Order-1001?tab=state&at=0')
    await page.getByRole('link', { name: 'Try a command at this point' }).click()
    await page.getByRole('combobox', { name: 'Command' }).selectOption('order.cancel')
    await page.getByRole('textbox', { name: 'order' }).fill('1001')
    await page.getByRole('textbox', { name: 'reason' }).fill('too late')
    await page.keyboard.press('Enter')
    await page.getByText('accepted').waitFor()
    await page.getByText('Order.Cancelled').waitFor()
    const link = new URL(page.url()).hash
    await visit('#/')
    await visit(link)
    await page.getByText('accepted').waitFor()
    await page.getByRole('link', { name: 'Decide on the present' }).click()
    await page.getByText('rejected').waitFor()
    await page.getByText('on-its-way').waitFor()
    await visit('#/try?command=order.place')
    await page.getByRole('textbox', { name: 'order', exact: true }).fill('5000')
    await page.getByRole('textbox', { name: 'customer' }).fill('customer-1')
    await page.getByRole('combobox', { name: 'sku' }).selectOption('ink')
    await page.getByRole('spinbutton', { name: 'quantity' }).fill('3')
    for (const name of ['street', 'city', 'country']) await page.getByRole('textbox', { name }).fill(name)
    await page.getByRole('button', { name: 'Try', exact: true }).click()
    await page.getByText('Stock.Reserved', { exact: true }).waitFor()
    await picture(page, 'inspector-try')
    await page.getByRole('button', { name: 'As JSON' }).click()
    await page.getByRole('textbox', { name: 'Its input, as JSON' }).fill('{"order": 5}')
    await page.getByRole('button', { name: 'Try', exact: true }).click()
    await page.getByText('INVALID_DATA').waitFor()
    expect(await store.logHead()).toBe(head)
  })

  test('shows what follows from what, as a tree and on a time axis, with links that lead back', async () => {
    const { page, visit } = await openShop()
    await visit('#/stream/Order-1003?event=0%40Order-1003')
    await page.getByRole('link', { name: 'Causes and effects' }).last().click()
    const tree = page.getByRole('list', { name: 'What follows from what' })
    await tree.getByRole('link', { name: 'Order.Delivered' }).waitFor()
    expect(await tree.getByRole('link').allTextContents()).toEqual([
      ...['Order.Placed', 'Order.Paid', 'Order.Shipped', 'Order.Delivered', 'Stock.Reserved'],
    ])
    expect(await tree.locator('[aria-current]').textContent()).toContain('Order.Placed')
    await picture(page, 'inspector-trace')
    await page.getByRole('link', { name: 'On a time axis' }).click()
    const events = page.getByRole('list', { name: 'Events on the axis' })
    await events.waitFor()
    expect(await page.getByRole('list', { name: 'Streams on the axis' }).getByRole('listitem').count()).toBe(
      2,
    )
    expect(await page.locator('.axis-mark').count()).toBe(await events.getByRole('listitem').count())
    await page.getByLabel('Another stream').fill('Order-1005')
    await page.keyboard.press('Enter')
    await page.getByRole('link', { name: 'Remove Order-1005' }).waitFor()
    await page.getByRole('link', { name: 'By order' }).click()
    await page.locator('.axis-mark').first().click()
    await page.getByRole('button', { expanded: true }).waitFor()
    await settle(page)
    expect(await page.locator('.axis-mark.open').count()).toBe(1)
    await page.getByRole('link', { name: 'Remove Order-1005' }).click()
    await page.getByRole('link', { name: 'Remove Stock-pen' }).click()
    await page.getByRole('link', { name: 'Order-1003', exact: true }).click()
    await page.getByRole('heading', { name: 'Order-1003' }).waitFor()
    await visit('#/lanes?streams=Order-1005%0AOrder-1010%0AOrder-1011%0AStock-ink')
    await picture(page, 'inspector-lanes')
  })

  test('shows projections and reactions, what they have set aside and their timers, and goes on by itself', async () => {
    const { store, page, visit, expectComplaint } = await openShop()
    expectComplaint('404 (Not Found)')
    await visit('#/followers')
    const row = page.getByRole('row', { name: /totals/ })
    await row.waitFor()
    expect(await page.getByRole('row', { name: /letters/ }).textContent()).toContain('blocked')
    await store.append({ stream: 'Other-1', events: [{ type: 'Noted', data: {} }] })
    await row.getByRole('cell', { name: '1', exact: true }).waitFor()
    await page.getByRole('link', { name: 'parcels' }).click()
    await page.getByRole('heading', { name: '2 events set aside' }).waitFor()
    await page.getByText('has no <b>address</b>').first().waitFor()
    await page.getByRole('img', { name: 'Events behind it, at most 1' }).waitFor()
    await visit('#/follower/unpaid')
    await page.getByRole('heading', { name: 'Timers' }).waitFor()
    await page.getByText('unpaid:1001').waitFor()
    await picture(page, 'inspector-timers')
    await visit('#/follower/none')
    await page.getByRole('alert').waitFor()
  })

  test('lets a blocked projection try again by the keyboard, once that is confirmed, and says where it was logged', async () => {
    const { store, page, visit } = await openShop({ write: true, bypassCSP: true })
    await visit('#/follower/totals')
    expect(await page.getByRole('button', { name: 'Let it try again' }).count()).toBe(0)
    await visit('#/follower/letters')
    const button = page.getByRole('button', { name: 'Let it try again' })
    await button.press('Enter')
    await page.getByRole('button', { name: 'Cancel' }).click()
    await button.press('Enter')
    const why = page.getByLabel('Why')
    await why.and(page.locator(':focus')).waitFor()
    await page.keyboard.type('paper <b>is</b> back')
    expect(await why.inputValue()).toBe('paper <b>is</b> back')
    expect([await violations(page), await overflow(page)]).toEqual([[], 0])
    await picture(page, 'inspector-unblock')
    await page.keyboard.press('Enter')
    await page.getByText('It may try again').waitFor()
    await page.getByText('stopped', { exact: true }).waitFor()
    await page.getByRole('link', { name: 'Logged' }).click()
    await page.getByRole('button', { name: /UnblockRequested/ }).waitFor()
    expect(await store.head('MnemeTools-actions')).toBe(0)
  })

  test.each([
    ['dark', 1280],
    ['light', 1280],
    ['dark', 360],
    ['light', 360],
  ])(
    'breaks no rule of accessibility, %s, %i pixels wide, and is never wider than its window',
    async (scheme, width) => {
      const { page, visit } = await openShop({ dark: scheme === 'dark', width, bypassCSP: true })
      for (const route of [
        '#/',
        '#/stream/Order-1003?event=0%40Order-1003',
        '#/log',
        '#/log?type=None',
        '#/live',
        '#/throughput',
        '#/stream/Order-1003?tab=state&at=2',
        '#/stream/Other?tab=state',
        '#/try?at=0%40Order-1003',
        '#/try?command=order.cancel&input=%7B%22order%22%3A%221001%22%2C%22reason%22%3A%22r%22%7D',
        '#/trace',
        '#/trace?at=1%40Order-1005',
        '#/lanes',
        '#/lanes?axis=order&streams=Order-1003%0AOrder-1005%0AStock-ink&event=0%40Order-1003',
        '#/followers',
        '#/follower/parcels',
        '#/follower/unpaid',
        '#/nowhere',
      ]) {
        await visit(route)
        expect(await overflow(page), route).toBe(0)
        expect(await violations(page), route).toEqual([])
        if (scheme === 'dark' && width === 360 && route.endsWith('at=2'))
          await picture(page, 'inspector-phone')
      }
    },
  )

  test('of a store without an index of its streams lists those of the last events, and opens any by its name', async () => {
    const server = await standIn()
    onTestFinished(() => server.stop())
    const store = await kurrentdbStore(server.connectionString)
    onTestFinished(() => store.close())
    await fillShop(store, 2)
    const { page, visit } = await openInspector({ store }, { bypassCSP: true })
    await page.getByRole('link', { name: 'Order-1002', exact: true }).waitFor()
    expect(await page.getByRole('rowheader').count()).toBe(5)
    expect(await violations(page)).toEqual([])
    await page.getByLabel('Name of the stream').fill('Stock-pen')
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: /Stock.Received/ }).waitFor()
    await visit('#/trace?at=0%40Order-1001')
    await page.getByRole('link', { name: 'Order.Paid' }).waitFor()
    await visit('#/throughput')
    await page.getByRole('link', { name: 'Stock.Received' }).waitFor()
  })

  test('shows hostile names and values as text, and runs none of them', async () => {
    const store = memoryStore()
    onTestFinished(() => store.close())
    const markup = '<img src=x onerror="window.broken=1"><script>window.broken=1</script>'
    const names = [
      markup,
      'javascript:window.broken=1',
      '"onmouseover="window.broken=1',
      'a\u202egnp.exe',
      '../../api/about?x#y%2f&amp;',
      '{{constructor.constructor("window.broken=1")()}}',
    ]
    for (const [n, name] of names.entries()) {
      const data = { [markup]: markup, __html: markup, n, dangerouslySetInnerHTML: { __html: markup } }
      const metadata = { correlation: markup, causation: markup, [markup]: markup }
      await store.append({ stream: name, events: [{ type: 'Hostile', data }] }, { metadata })
    }
    const { page, visit } = await openInspector({ store, name: markup })
    for (const name of names) {
      await visit('#/streams')
      const shown = name.replace('\u202e', '\\u{202e}')
      await page.locator('main').getByRole('link', { name: shown, exact: true }).click()
      await page.getByRole('heading', { name: shown, exact: true }).waitFor()
      await page.getByRole('button', { name: /Hostile/ }).click()
      await page.getByText('onerror').first().waitFor()
      await settle(page)
    }
    await visit(`#/lanes?streams=${encodeURIComponent(names.join('\n'))}`)
    expect(await page.locator('.axis-mark').count()).toBe(names.length)
    await visit(`#/trace?wanted=${encodeURIComponent(markup)}`)
    await page.getByText('6 events of 6 streams').waitFor()
    await visit('#/throughput')
    await visit('#/live')
    await visit('#/log')
    expect(await page.locator('main img, main script, main iframe').count()).toBe(0)
    expect(await page.evaluate('window.broken')).toBeUndefined()
  })

  test('folds what is large or deep, and loads it when somebody asks for it', async () => {
    const store = memoryStore()
    onTestFinished(() => store.close())
    let deep: unknown = 'bottom'
    for (let i = 0; i < 480; i++) deep = { deep }
    const data = {
      text: `${'x'.repeat(1_000_000)}end`,
      list: Array.from({ length: 20_000 }, (_, n) => n),
      deep,
    }
    await store.append({ stream: 'Large-1', events: [{ type: 'Large', data }] })
    const { page, visit } = await openInspector({ store })
    await visit('#/stream/Large-1?event=0%40Large-1')
    await page.getByText(/^1,1.* characters$/).waitFor()
    const nodes = () => page.evaluate<number>('document.querySelectorAll("*").length')
    expect(await nodes()).toBeLessThan(600)
    await page.getByRole('button', { name: 'show more: 19,950 left' }).click()
    await page.getByRole('button', { name: 'show more: 19,900 left' }).waitFor()
    await page.getByRole('button', { name: /read on: 999,003/ }).click()
    await page.getByRole('button', { name: /read on: 979,003/ }).waitFor()
    // Each level is unfolded by itself; behind the sixth, more is loaded.
    const fold = page.getByRole('button', { name: /deep: .1 field/, expanded: false })
    for (let i = 0; i < 6; i++) {
      if ((await fold.count()) > 0) await fold.last().click()
      const more = page.getByRole('button', { name: 'show fields' })
      if ((await more.count()) > 0) await more.last().click()
    }
    expect(await page.getByRole('button', { name: /deep: .1 field/ }).count()).toBeGreaterThan(6)
    expect(await nodes()).toBeLessThan(1_200)
  })

  test('is used by keyboard alone', async () => {
    const { page } = await openShop()
    await settle(page)
    const focused = () => page.evaluate<string>('document.activeElement.textContent')
    const press = async (...keys: string[]) => {
      for (const key of keys) await page.keyboard.press(key)
    }
    await page.keyboard.press('Tab')
    expect(await focused()).toBe('Skip to the page')
    await press('Enter')
    expect(await page.evaluate('document.activeElement.id')).toBe('main')
    while ((await focused()) !== 'Order-1001') await press('Tab')
    await press('Enter')
    await page.getByRole('heading', { name: 'Order-1001' }).waitFor()
    await settle(page)
    while (!(await page.evaluate(`document.activeElement.matches('.event-row')`))) await press('Tab')
    await press('ArrowDown', 'ArrowDown', 'Home', 'ArrowDown', 'Enter')
    await page.getByRole('button', { expanded: true, name: /Order.Paid/ }).waitFor()
    await press('Enter')
    await page.getByRole('button', { expanded: false, name: /Order.Paid/ }).waitFor()
  })

  test('answers no page of another origin, not even one of this machine', async () => {
    const { context, origin } = await openShop()
    const other = createServer((_, response) => {
      response.writeHead(200, { 'Content-Type': 'text/html' }).end('<!doctype html><title>other</title>')
    })
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void other.close())
    const page = await context.newPage()
    await page.goto(`http://127.0.0.1:${(other.address() as AddressInfo).port}/`)
    const asked = (init: string) =>
      page.evaluate(`fetch('${origin}/api/about', ${init}).then((r) => r.status, () => 'refused')`)
    expect(
      await asked(`{ method: 'POST', body: '{}', headers: { 'Content-Type': 'application/json' } }`),
    ).toBe('refused')
    expect(await asked(`{ method: 'POST', body: '{}', credentials: 'include' }`)).toBe('refused')
    const framed = `new Promise((done) => {
      const frame = document.createElement('iframe')
      frame.src = '${origin}/'
      frame.onload = () => { try { done(frame.contentDocument === null ? 'refused' : 'seen') } catch { done('refused') } }
      document.body.append(frame)
    })`
    expect(await page.evaluate(framed)).toBe('refused')
    const script = `new Promise((done) => {
      const script = document.createElement('script')
      script.src = '${origin}/page.js'
      script.onload = () => done('loaded')
      script.onerror = () => done('refused')
      document.head.append(script)
    })`
    expect(await page.evaluate(script)).toBe('refused')
  })
})
