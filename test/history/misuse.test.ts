import { defineAggregate, defineCommand, event, isMnemeError, subject } from 'mneme'
import { asyncapi, catalogue, describeCommand, diffCatalogues, eventCatalogFiles } from 'mneme/catalogue'
import {
  eraseSubject,
  keyRing,
  memoryKeys,
  repeatErasures,
  reveal,
  subjectHashIn,
  wrappingKey,
} from 'mneme/erasure'
import {
  archiveStream,
  checkHistory,
  checkShapes,
  copySnapshots,
  eventsInArchive,
  exportEvents,
  importEvents,
  recordShapes,
  verifySnapshots,
} from 'mneme/history'
import { memoryStore } from 'mneme/memory'
import { expect, test } from 'vitest'

const Door = defineAggregate({
  name: 'Door',
  events: { Opened: event<{ by: string }>() },
  initial: () => ({}),
  apply: { Opened: (state) => state },
  snapshot: { version: 1, every: 5 },
})
const open = defineCommand({
  name: 'door.open',
  reads: (id: string) => Door(id),
  handle: () => Door.events.Opened({ by: 'Ada' }),
})
const model = catalogue({ aggregates: [Door] })
const wrap = wrappingKey('k', new Uint8Array(32))
const secret = 'sixteen bytes of it'
const store = () => memoryStore({ personal: keyRing({ keys: memoryKeys(), wrap, secret }) })
const shapes = { format: 'mneme shapes 1', categories: {} }

/** Each function with arguments that it takes; `...` stands behind the arguments that may be left out. */
const calls: Record<string, { call: (...args: never[]) => unknown; required: unknown[]; options?: true }> = {
  checkHistory: { call: checkHistory, required: [store(), [Door]], options: true },
  recordShapes: { call: recordShapes, required: [store(), [Door]], options: true },
  checkShapes: { call: checkShapes, required: [shapes, [Door]], options: true },
  verifySnapshots: { call: verifySnapshots, required: [store(), Door], options: true },
  importEvents: { call: importEvents, required: [store(), [] as unknown[]], options: true },
  exportEvents: { call: exportEvents, required: [store()], options: true },
  archiveStream: { call: archiveStream, required: [store(), 'Door-1', { to: () => undefined }] },
  copySnapshots: { call: copySnapshots, required: [store(), store(), [Door]], options: true },
  eventsInArchive: { call: eventsInArchive, required: [['']] },
  eraseSubject: { call: eraseSubject, required: [store(), subject('door', '1')], options: true },
  repeatErasures: { call: repeatErasures, required: [store()] },
  reveal: { call: reveal, required: [store()] },
  keyRing: { call: keyRing, required: [{ keys: memoryKeys(), wrap, secret }] },
  wrappingKey: { call: wrappingKey, required: ['k', new Uint8Array(32)] },
  catalogue: { call: catalogue, required: [{ aggregates: [Door] }] },
  describeCommand: {
    call: describeCommand,
    required: [open, { writes: [Door.events.Opened], rejects: [] }],
  },
  diffCatalogues: { call: diffCatalogues, required: [model, model] },
  asyncapi: { call: asyncapi, required: [model, { title: 'House', version: '1' }] },
  eventCatalogFiles: { call: eventCatalogFiles, required: [model, { service: 'House', version: '1' }] },
}

const wrong = [undefined, null, 3, true, '', 'x-', Symbol('s'), [null], [3], { a: 1 }, () => 1]

async function outcomeOf(call: (...args: never[]) => unknown, args: unknown[]): Promise<unknown> {
  try {
    const result = (await call(...(args as never[]))) as Partial<AsyncIterable<unknown>> | undefined
    if (typeof result?.[Symbol.asyncIterator] === 'function') {
      for await (const _ of result as AsyncIterable<unknown>);
    }
    return undefined
  } catch (error) {
    return error
  }
}

test.each(Object.entries(calls))(
  '%s refuses wrong arguments by one clear error',
  async (name, { call, required, options }) => {
    expect(await outcomeOf(call, required)).toBe(undefined)
    if (options) expect(await outcomeOf(call, [...required, {}])).toBe(undefined)
    const count = required.length + (options ? 1 : 0)
    for (let place = 0; place < count; place++) {
      for (const value of wrong) {
        if (place >= required.length && value === undefined) continue
        if (isTaken[name]?.(place, value)) continue
        const args = [...required]
        args[place] = value
        const error = await outcomeOf(call, args)
        const told = `${name}, argument ${String(place)}: ${describe(value)}: ${String(error)}`
        expect(isMnemeError(error), told).toBe(true)
        expect((error as Error).message, told).toMatch(/must be|unknown option|give|again/)
      }
    }
  },
)

test.each([
  ['checkHistory', 'after to unchecked dictionaries maxFindings maxStates signal onProgress'],
  ['recordShapes', 'dictionaries signal onProgress'],
  ['checkShapes', 'unchecked'],
  ['verifySnapshots', 'sample streams signal'],
  ['copySnapshots', 'streams signal'],
  ['importEvents', 'signal onProgress'],
  ['exportEvents', 'after signal'],
  ['archiveStream', 'before to keys signal'],
  ['eraseSubject', 'reason metadata'],
  ['keyRing', 'keys wrap secret'],
  ['catalogue', 'aggregates commands projections reactions relays jsonSchema'],
  ['describeCommand', 'name summary reads writes rejects'],
  ['asyncapi', 'title version description'],
  ['eventCatalogFiles', 'service version summary'],
])('%s refuses wrong options by one clear error: %s', async (name, options) => {
  const { call, required, options: areMore } = calls[name]!
  for (const option of options.split(' ')) {
    for (const value of [null, -1, 0.5, Symbol('s'), [3], { a: 1 }]) {
      const given = areMore ? {} : (required.at(-1) as object)
      const args = [...(areMore ? required : required.slice(0, -1)), { ...given, [option]: value }]
      const error = await outcomeOf(call, args)
      const told = `${name}, ${option}: ${describe(value)}: ${String(error)}`
      expect(isMnemeError(error), told).toBe(true)
    }
  }
})

/** What looks wrong and is not. */
const isTaken: Record<string, (place: number, value: unknown) => boolean> = {
  archiveStream: (place, value) => place === 1 && value === 'x-',
  eventsInArchive: (_place, value) => value === '',
  wrappingKey: (place, value) => place === 0 && value === 'x-',
}

function describe(value: unknown): string {
  return typeof value === 'symbol' || typeof value === 'function' ? typeof value : JSON.stringify(value)
}

test('a catalogue of which a part is missing is refused by the name of that part', () => {
  for (const part of ['aggregates', 'events', 'commands', 'projections', 'reactions', 'relays'] as const) {
    expect(() => diffCatalogues({ ...model, [part]: undefined }, model)).toThrow(`before.${part} must be`)
    const broken = { ...model, [part]: { Lost: { version: 1 } } }
    expect(() => diffCatalogues(model, broken)).toThrow(`after.${part}['Lost'] must be what catalogue()`)
  }
})

test('a value that holds nothing sealed has no subject', () => {
  for (const value of wrong) expect(subjectHashIn(value as never)).toBe(undefined)
})

test.each([
  ['2026-02-30T00:00:00.000Z'],
  ['2025-02-29T00:00:00.000Z'],
  ['2026-04-31T12:00:00.000Z'],
  ['2026-01-31T24:00:00.000Z'],
  ['2026-01-31T12:00:00Z'],
])('an import refuses the time %s, which no clock shows', async (time) => {
  const to = memoryStore()
  await expect(importEvents(to, [{ ...opened(0), time }])).rejects.toThrow(
    'events[0].time must be a time like 2026-01-31T12:00:00.000Z',
  )
  expect(await to.logHead()).toBe(undefined)
  const leap = '2024-02-29T23:59:59.999Z'
  expect(await importEvents(to, [{ ...opened(0), time: leap }])).toMatchObject({ appended: 1 })
})

test('in an archive a last line break is no line, and an empty line between others is an error with its number', async () => {
  const lines = [0, 1].map((revision) => JSON.stringify(opened(revision)))
  const read = async (text: string) => {
    let count = 0
    for await (const { revision } of eventsInArchive([text])) expect(revision).toBe(count++)
    return count
  }
  expect(await read('')).toBe(0)
  expect(await read(lines.join('\n'))).toBe(2)
  expect(await read(`${lines.join('\n')}\n`)).toBe(2)
  expect(await read(`${lines.join('\r\n')}\r\n`)).toBe(2)
  expect(await read(`${lines.join('\n')}\n\n \r\n`)).toBe(2)
  await expect(read(`${lines[0]!}\n\n${lines[1]!}\n`)).rejects.toThrow(
    'line 2 of the archive is empty, and others follow: some of it may be missing; archive the stream again',
  )
  await expect(read(`${lines[0]!}\n[]`)).rejects.toThrow('line 2 of the archive is no event')
})

function opened(revision: number) {
  return {
    stream: 'Door-1',
    type: 'Door.Opened',
    id: `00000000-0000-4000-8000-00000000000${String(revision)}`,
    version: 1,
    revision,
    time: '2026-01-31T12:00:00.000Z',
    metadata: {},
    data: { by: 'Ada' },
  }
}
