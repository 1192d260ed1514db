import amqplib from 'amqplib'
import { cloudEvent, CLOUD_EVENT } from './cloud-event.ts'
import { senderOver, type Sender } from './sender.ts'

/**
 * Publishes events to an exchange of RabbitMQ, with their type as routing key, and waits for the broker's confirms. An event
 * that is sent again is in the queue twice, with the same message id.
 */
export function rabbitmqSender(to: { url: string; exchange: string; source: string }): Sender {
  return senderOver(async () => {
    const connection = await amqplib.connect(to.url)
    connection.on('error', () => undefined) // what was under way fails by itself
    const channel = await connection.createConfirmChannel()
    channel.on('error', () => undefined)
    const unrouted: unknown[] = []
    channel.on('return', ({ properties }) => unrouted.push(properties.messageId))
    return {
      publish: async (batch) => {
        for (const event of batch) {
          channel.publish(to.exchange, event.type, Buffer.from(cloudEvent(event, to.source)), {
            messageId: event.id,
            contentType: CLOUD_EVENT,
            persistent: true,
            mandatory: true, // a message that no queue takes is confirmed and lost; but before, it is returned
          })
        }
        await channel.waitForConfirms()
        if (unrouted.length > 0) throw new Error(`no queue takes the events ${unrouted.join(', ')}`)
      },
      close: () => connection.close(),
    }
  })
}
