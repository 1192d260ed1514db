import { jetstream } from '@nats-io/jetstream'
import { connect, headers } from '@nats-io/transport-node'
import { cloudEvent, CLOUD_EVENT } from './cloud-event.ts'
import { senderOver, streamByStream, type Sender } from './sender.ts'

/**
 * Publishes events to a stream of NATS JetStream that has the subjects `<stream>.>`. A message has the id of its event: if
 * it comes again within the stream's duplicate window (120 s by default), it is not stored again.
 */
export function natsSender(to: { servers: string; stream: string; source: string }): Sender {
  return senderOver(async () => {
    const connection = await connect({ servers: to.servers, reconnect: false })
    const client = jetstream(connection)
    const contentType = headers()
    contentType.set('Content-Type', CLOUD_EVENT)
    return {
      // If several events of a stream were under way, one could fail and the next one be stored.
      publish: (batch, signal) =>
        streamByStream(batch, signal, (event) =>
          client.publish(`${to.stream}.${event.type}`, cloudEvent(event, to.source), {
            msgID: event.id,
            expect: { streamName: to.stream },
            headers: contentType,
          }),
        ),
      close: () => connection.close(),
    }
  })
}
