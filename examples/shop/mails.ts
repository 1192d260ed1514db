/** A mail service. It sends a mail of a key once, however often it is asked to. */
export interface Mails {
  send(
    mail: { readonly key: string; readonly to: string; readonly text: string },
    signal: AbortSignal,
  ): Promise<void>
}

/** A mail service in memory, for the example and its tests. */
export function testMails(): Mails & { readonly sent: ReadonlyMap<string, string> } {
  const sent = new Map<string, string>()
  return {
    sent,
    send: ({ key, to, text }) => {
      sent.set(key, `${to}: ${text}`)
      return Promise.resolve()
    },
  }
}
