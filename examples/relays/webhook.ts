import { Webhook } from 'standardwebhooks'
import { cloudEvent, CLOUD_EVENT } from './cloud-event.ts'
import { streamByStream, type Sender } from './sender.ts'

/** Posts each event to a URL, signed as Standard Webhooks says. `webhook-id` is the event's id: the receiver skips ones it knows. */
export function webhookSender({
  url,
  secret,
  source,
}: {
  url: string
  secret: string
  source: string
}): Sender {
  const webhook = new Webhook(secret)
  return {
    send: (batch, { signal }) =>
      streamByStream(batch, signal, async (event) => {
        const body = cloudEvent(event, source)
        const now = new Date() // of this attempt, not of the event: receivers refuse old ones
        const headers = {
          'Content-Type': CLOUD_EVENT,
          'webhook-id': event.id,
          'webhook-timestamp': String(Math.floor(now.getTime() / 1_000)),
          'webhook-signature': webhook.sign(event.id, now, body),
        }
        const answer = await fetch(url, { method: 'POST', headers, body, signal, redirect: 'error' })
        await answer.body?.cancel()
        if (!answer.ok) throw new Error(`the webhook answered ${String(answer.status)}`)
      }),
    close: () => Promise.resolve(),
  }
}
