import { describe, expect, test } from 'vitest'

import { serverFilter } from '../../../src/stores/kurrentdb/filter.ts'
import { Follower } from './follower.ts'
import { appendOf, happened, logOf, opened, served, times, unique, where } from './rig.ts'

describe(`filters of many names ${where}`, () => {
  test('a subscription and a read get the events of the named streams only, whatever else is in their category', async () => {
    const adapter = await opened(await served())
    const category = unique('c')
    const [named, others] = [
      times(150, (i) => `${category}-${String(i)}`),
      times(20, (i) => `${category}-x${String(i)}`),
    ]
    const written = [named[3]!, others[0]!, named[149]!, others[19]!, `${category}x-1`, named[0]!]
    const append = (stream: string) => adapter.append(appendOf({ [stream]: 'any' }, [happened(stream)]))
    for (const stream of written) await append(stream)
    const follower = new Follower(adapter, { streams: named })
    await follower.first(3)
    for (const stream of written) await append(stream)
    const expected = [...written, ...written].filter((stream) => named.includes(stream))
    expect((await follower.first(6)).map(({ stream }) => stream)).toEqual(expected)
    expect((await logOf(adapter, named)).map(({ stream }) => stream)).toEqual(expected)
  })

  test('the server is given no expression of many names: their categories, or nothing', () => {
    const names = times(20_000, (i) => `Account-${String(i)}`)
    const categories = undefined
    expect(serverFilter({ streams: names, categories, types: undefined })).toEqual(
      serverFilter({ streams: undefined, categories: ['Account'], types: undefined }),
    )
    const everything = serverFilter({ streams: undefined, categories, types: undefined })
    const apart = names.map((name) => name.replace('-', ''))
    expect(serverFilter({ streams: apart, categories, types: undefined })).toEqual(everything)
    expect(serverFilter({ streams: undefined, categories, types: names })).toEqual(everything)
  })
})
