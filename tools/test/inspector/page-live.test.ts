import { memoryStore } from 'mneme/memory'
import { setImmediate } from 'node:timers/promises'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'

import { browserProblem, closeBrowser, openInspector, settle } from './browser.ts'

afterAll(closeBrowser)

describe.skipIf(browserProblem)(`the live page ${browserProblem ?? ''}`, () => {
  async function openLive() {
    const store = memoryStore()
    onTestFinished(() => store.close())
    const opened = await openInspector({ store })
    await opened.visit('#/live')
    await settle(opened.page)
    const append = (...types: string[]) =>
      store.append({ stream: 'A-1', events: types.map((type) => ({ type, data: { type } })) })
    const rows = opened.page.getByRole('list', { name: 'The last events' }).getByRole('listitem')
    return { store, append, rows, ...opened }
  }

  test('shows each event as it is appended, and stands still while one is read', async () => {
    const { page, append, rows } = await openLive()
    await page.getByText('No event yet').waitFor()
    await append('First')
    await page.getByRole('button', { name: /First/ }).click()
    await page.getByText('Paused while an event').waitFor()
    await append('Second')
    await page.getByRole('button', { name: 'Pause' }).click()
    await page.getByRole('button', { name: /First/ }).click()
    expect(await rows.count()).toBe(1)
    await page.getByRole('button', { name: 'Go on' }).click()
    await page.getByRole('button', { name: /Second/ }).waitFor()
    expect(await rows.locator('.event-type').allTextContents()).toEqual(['Second', 'First'])
    await page.getByText('2 events since').waitFor()
  })

  test('shows only what passes the filter', async () => {
    const { page, append, rows, visit } = await openLive()
    await visit('#/live?type=Wanted')
    await append('Unwanted', 'Wanted', 'Unwanted')
    await page.getByRole('button', { name: /Wanted/ }).waitFor()
    expect(await rows.count()).toBe(1)
  })

  test('does not drown: however much is appended, its list stays short and ends with the last event', async () => {
    const { page, store, rows } = await openLive()
    const batch = Array.from({ length: 500 }, (_, n) => ({ type: 'Ticked', data: { n } }))
    // All of it waits for the page once more, so that reading it takes some rounds.
    for (let n = 0; n < 100; n++) {
      await store.append({ stream: `A-${n % 10}`, events: batch })
      await setImmediate()
    }
    await store.append({ stream: 'B-1', events: [{ type: 'Last', data: {} }] })
    await page.getByRole('button', { name: /Last/ }).waitFor()
    expect(await rows.count()).toBe(100)
    await page.getByText('50,001 events since').waitFor()
  })

  test('says that the inspector cannot be reached, and goes on by itself', async () => {
    const { page, context, append, expectComplaint } = await openLive()
    expectComplaint('net::ERR_INTERNET_DISCONNECTED')
    await context.setOffline(true)
    await page.getByRole('alert').getByText('cannot be reached').waitFor()
    await append('Again')
    await context.setOffline(false)
    await page.getByRole('button', { name: /Again/ }).waitFor()
    expect(await page.getByRole('alert').count()).toBe(0)
  })
})
