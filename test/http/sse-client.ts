/** A message as an EventSource dispatches it. */
export interface Message {
  readonly id: string
  readonly event: string
  readonly data: unknown
}

/** Reads server-sent events as a browser does: an unfinished one at the end is dropped. */
export class SseClient {
  readonly messages: Message[] = []
  /** The id at which it would resume. */
  lastEventId: string
  /** Comments that came. */
  comments = 0
  /** Resolves when the response has ended, also if its connection was cut. */
  readonly ended: Promise<void>
  #waiting: (() => void)[] = []

  constructor(body: ReadableStream<Uint8Array>, lastEventId = '') {
    this.lastEventId = lastEventId
    this.ended = this.#read(body).catch(() => undefined)
  }

  /** Resolves when a condition holds; rejects if the response ends before. */
  async until(condition: (client: this) => boolean): Promise<void> {
    let isOver = false
    void this.ended.then(() => {
      isOver = true
      this.#tell()
    })
    while (!condition(this)) {
      if (isOver) throw new Error(`the response ended after ${this.messages.length} messages`)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder()
    let text = ''
    for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true })
      const blocks = text.split('\n\n')
      text = blocks.pop()!
      for (const block of blocks) this.#take(block)
      this.#tell()
    }
  }

  #take(block: string): void {
    let event = 'message'
    let data: string | undefined
    for (const line of block.split('\n')) {
      const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line)!
      if (field === '') this.comments++
      else if (field === 'id') this.lastEventId = value!
      else if (field === 'event') event = value!
      else if (field === 'data') data = value!
    }
    if (data !== undefined) this.messages.push({ id: this.lastEventId, event, data: JSON.parse(data) })
  }

  #tell(): void {
    for (const resume of this.#waiting.splice(0)) resume()
  }
}

/** Connects, and resumes at an id if there is one. */
export async function connect(url: string, lastEventId = '', signal?: AbortSignal): Promise<SseClient> {
  const headers = lastEventId === '' ? {} : { 'Last-Event-ID': lastEventId }
  const response = await fetch(url, { headers, ...(signal && { signal }) })
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`)
  return new SseClient(response.body!, lastEventId)
}
