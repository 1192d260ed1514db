import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createRequire } from 'node:module'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { expect, onTestFinished } from 'vitest'

import { createInspector, type InspectorOptions } from '../../src/inspector/inspector.ts'
import { serveInspector } from '../../src/inspector/serve.ts'

const EXECUTABLE = [
  process.env.MNEME_CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
].find((path) => path !== undefined && existsSync(path))

/** Why the page is not tested in a browser here; `undefined`: it is. */
export const browserProblem =
  EXECUTABLE === undefined
    ? 'no Chromium: apt-get install chromium, or name one by MNEME_CHROMIUM'
    : undefined

let browser: Promise<Browser> | undefined

/** One browser for all tests of a file. */
export function launch(): Promise<Browser> {
  browser ??= chromium.launch({
    executablePath: EXECUTABLE!,
    args: [
      // Chromium refuses its sandbox to root.
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-default-apps',
      '--disable-sync',
      '--no-first-run',
      '--force-color-profile=srgb',
    ],
  })
  return browser
}

export async function closeBrowser(): Promise<void> {
  await (await browser)?.close()
  browser = undefined
}

/** What the tests do on a page, beside what playwright has. */
export interface Opened {
  readonly page: Page
  readonly context: BrowserContext
  readonly origin: string
  readonly link: string
  /** A complaint of the browser's that the test expects. */
  readonly expectComplaint: (part: string) => void
  /** Goes to a place of the page. */
  readonly visit: (route: string) => Promise<void>
}

/** Serves an inspector, and opens its page in a browser. What the page logs, or throws, fails the test. */
export async function openInspector(
  options: InspectorOptions,
  look: {
    readonly width?: number
    readonly height?: number
    readonly dark?: boolean
    readonly bypassCSP?: boolean
  } = {},
): Promise<Opened> {
  const inspector = createInspector(options)
  const server = await serveInspector(inspector)
  const context = await (
    await launch()
  ).newContext({
    viewport: { width: look.width ?? 1280, height: look.height ?? 800 },
    colorScheme: look.dark === true ? 'dark' : 'light',
    reducedMotion: 'reduce',
    timezoneId: 'UTC',
    locale: 'en-GB',
    bypassCSP: look.bypassCSP ?? false,
  })
  context.setDefaultTimeout(15_000)
  const page = await context.newPage()
  const complaints: string[] = []
  const expected: string[] = []
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(String(error)))
  const { origin } = new URL(server.link)
  const asked: string[] = []
  page.on('request', (request) => {
    if (!request.url().startsWith(`${origin}/`)) asked.push(request.url())
  })
  onTestFinished(async () => {
    await context.close()
    await server.close()
    expect(complaints.filter((text) => !expected.some((part) => text.includes(part)))).toEqual([])
    // Nothing comes from elsewhere.
    expect(asked).toEqual([])
  })
  await page.goto(server.link)
  await page.locator('h1').waitFor()
  const visit = async (route: string) => {
    await page.goto(`${origin}/${route}`)
    await settle(page)
  }
  const expectComplaint = (part: string) => void expected.push(part)
  return { page, context, origin, link: server.link, expectComplaint, visit }
}

/** Waits until the page shows what it has asked for. */
export async function settle(page: Page): Promise<void> {
  await page.locator('h1').waitFor()
  await expect.poll(() => page.locator('.loading, .stale').count()).toBe(0)
}

/** The rules of accessibility that the page breaks, each with the elements that do. */
export async function violations(page: Page): Promise<unknown> {
  await page.evaluate(axeSource())
  return page.evaluate(`axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) =>
    violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.map(({ html, failureSummary }) => html.slice(0, 200) + ' ' + failureSummary) })))`)
}

let axe: string | undefined

function axeSource(): string {
  axe ??= readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  return axe
}

/** Whether the page is wider than its window. */
export function overflow(page: Page): Promise<number> {
  return page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')
}

const IMAGES = join(import.meta.dirname, '../../../docs/images')

/** Takes a picture for the docs, if MNEME_PICTURES asks for it: `docs`, or another folder. */
export async function picture(page: Page, name: string): Promise<void> {
  const asked = process.env.MNEME_PICTURES
  if (asked === undefined) return
  const folder = asked === 'docs' ? IMAGES : asked
  mkdirSync(folder, { recursive: true })
  const browser = await page.context().newCDPSession(page)
  const { data } = await browser.send('Page.captureScreenshot', { format: 'webp', quality: 60 })
  writeFileSync(join(folder, `${name}.webp`), data, 'base64')
}
