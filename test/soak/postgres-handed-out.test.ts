import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { postgresStore } from 'mneme/postgres'
import { expect, onTestFinished } from 'vitest'

import { happened } from '../stores/sqlite/history.ts'
import { soakServer, test } from './postgres/soak.ts'

const server = soakServer()

const ready = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])

/** As a server says it whose session was ended by pg_terminate_backend. */
function terminated(): Buffer {
  const fields = ['SFATAL', 'VFATAL', 'C57P01', 'Mterminating connection due to administrator command', '']
  const body = Buffer.from(`${fields.join('\0')}\0`)
  const head = Buffer.alloc(5)
  head.write('E')
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

test('a connection that ends in the moment in which the pool hands it out ends no process', async () => {
  const url = new URL(await server().createDatabase())
  await (await postgresStore(url.href)).close()
  let ended = 3
  const sockets = new Set<Socket>()
  const proxy = createServer((client) => {
    const upstream = connect(Number(url.port), url.hostname)
    client.pipe(upstream)
    sockets.add(client)
    upstream.on('data', (chunk) => {
      // In one packet with the message that the session is ready.
      const isEnd = ended < 3 && chunk.subarray(-6).equals(ready)
      if (!isEnd) return void client.write(chunk)
      ended++
      client.end(Buffer.concat([chunk, terminated()]))
      upstream.destroy()
    })
    for (const socket of [client, upstream]) socket.on('error', () => {})
    upstream.on('close', () => client.end())
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void proxy.close())
  const through = new URL(url)
  through.port = String((proxy.address() as AddressInfo).port)
  const store = await postgresStore(through.href)
  for (const socket of sockets) socket.destroy()
  ended = 0
  await store.append({ stream: 's', events: [happened()], expected: 'none' })
  expect(ended).toBe(3)
  await store.close()
})
