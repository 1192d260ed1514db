import { expect, test } from 'vitest'

import { appendOf, happened, opened, ownServer, rawClient, served, times, unique, where } from './rig.ts'

test(`heads of streams that are whole, cut off, deleted and unknown, ${where}`, async () => {
  const server = await served()
  const adapter = await opened(server)
  const client = rawClient(server)
  const [whole, cutOff, emptied, deleted] = [unique(), unique(), unique(), unique()]
  for (const stream of [whole, cutOff, emptied, deleted]) {
    await adapter.append(
      appendOf(
        { [stream]: 'none' },
        times(3, () => happened(stream)),
      ),
    )
  }
  await client.setStreamMetadata(cutOff, { truncateBefore: 2 })
  await client.setStreamMetadata(emptied, { truncateBefore: 9 })
  await client.deleteStream(deleted)
  expect(await adapter.heads([whole, cutOff, emptied, deleted, unique()])).toEqual([2, 2, 2, 'none', 'none'])
})

test('heads of several streams for a user who may not read all streams, on the stand-in', async () => {
  const server = await ownServer()
  const adapter = await opened(server.connectionString)
  const [a, b] = [unique(), unique()]
  await adapter.append(appendOf({ [a]: 'none', [b]: 'none' }, [happened(a), happened(b), happened(b)]))
  server.faults.nextRead({ kind: 'access-denied' })
  expect(await adapter.heads([a, b])).toEqual([0, 1])
})
