import { createClient } from '@redis/client'
import { cloudEvent } from './cloud-event.ts'
import { senderOver, type Sender } from './sender.ts'

/** Adds the events whose ids are not known. An id is noted once its event is in, so that an error between loses none. */
const ADD = `
  for i = 2, #KEYS do
    if redis.call('EXISTS', KEYS[i]) == 0 then
      redis.call('XADD', KEYS[1], '*', 'event', ARGV[i])
      redis.call('SET', KEYS[i], '', 'EX', ARGV[1])
    end
  end`

/** Adds events to a stream of Valkey or Redis. An event that is sent again within an hour is not added again. */
export function redisSender(to: { url: string; stream: string; source: string }): Sender {
  return senderOver(async () => {
    const client = createClient({ url: to.url, socket: { reconnectStrategy: false } })
    client.on('error', () => undefined) // what was under way fails by itself
    await client.connect()
    return {
      publish: (batch) => {
        const key = `{${to.stream}}` // in braces: so a cluster keeps all of them on one node
        const keys = [key, ...batch.map(({ id }) => `${key}:${id}`)]
        const events = batch.map((event) => cloudEvent(event, to.source))
        return client.eval(ADD, { keys, arguments: ['3600', ...events] })
      },
      close: () => {
        client.destroy()
      },
    }
  })
}
