import { connect, createServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'

/** One connection through the proxy. */
export interface Link {
  readonly client: Socket
  readonly server: Socket
  /** What the client has sent, and the server is still to get. */
  held: Buffer[]
  isHeld: boolean
  /** Nothing more comes to the client. */
  isMute: boolean
  /** What the server has answered since it was held. */
  answers: number
  /** How many answers are still under way, and when the last of them will have come. */
  late: number
  given: Promise<unknown>
}

/** A network between a store and its server, that can lose, keep and cut. */
export class Proxy {
  readonly port: number
  links: Link[] = []
  /** The port that new connections lead to. */
  target: number
  /** Whether new connections get no answer. */
  isDead = false
  readonly unanswered: Socket[] = []
  /** Milliseconds that each answer is under way. */
  latency = 0
  /** What answers wait for besides, if anything. */
  answersAfter: Promise<void> | undefined

  constructor(port: number, target: number) {
    this.port = port
    this.target = target
  }

  /** The same server, through the proxy. */
  url(url: string): string {
    const through = new URL(url)
    through.hostname = '127.0.0.1'
    through.port = String(this.port)
    return through.href
  }

  /** What is sent on the connections there are now is kept, until it is let go. New ones are free. */
  hold(): Link[] {
    for (const link of this.links) link.isHeld = true
    return [...this.links]
  }

  /** Nothing that the server answers on the connections there are now comes through any more. */
  mute(): void {
    for (const link of this.links) link.isMute = true
  }

  /** As where a process died: both sides see a reset. */
  reset(): void {
    for (const { client, server } of this.links.splice(0)) {
      client.resetAndDestroy()
      server.resetAndDestroy()
    }
  }

  /** Cuts all connections, and leaves new ones without an answer, until what it gives back is called, which cuts those. */
  suspend(): () => void {
    this.isDead = true
    this.cut()
    return () => {
      this.isDead = false
      for (const socket of this.unanswered.splice(0)) socket.destroy()
    }
  }

  /** Cuts connections: the client sees it at once; the server, if it looks. */
  cut(links: readonly Link[] = this.links): void {
    for (const { client, server, isHeld } of links) {
      client.destroy()
      if (!isHeld) server.destroy()
    }
    this.links = this.links.filter((link) => !links.includes(link))
  }

  /** The server gets what was kept; resolves when it has answered, or ended the connection. */
  async letGo(links: readonly Link[]): Promise<void> {
    await Promise.all(
      links.map(async (link) => {
        link.isHeld = false
        link.answers = 0
        if (link.held.length === 0) return
        for (const chunk of link.held.splice(0)) link.server.write(chunk)
        const giveUp = performance.now() + 5_000
        while (link.answers === 0 && !link.server.destroyed && performance.now() < giveUp) {
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      }),
    )
    for (const { server } of links) server.destroy()
  }
}

/** Starts a proxy to a local port; it ends with the test. */
export async function startProxy(target: number): Promise<Proxy> {
  const sockets = new Set<Socket>()
  const listener = createServer((client) => {
    sockets.add(client)
    if (proxy.isDead) {
      proxy.unanswered.push(client)
      return void client.on('error', () => undefined)
    }
    const server = connect(proxy.target, '127.0.0.1')
    sockets.add(server)
    const link: Link = {
      ...{ client, server, held: [], isHeld: false, isMute: false, answers: 0 },
      ...{ late: 0, given: Promise.resolve() },
    }
    proxy.links.push(link)
    client.setNoDelay(true)
    server.setNoDelay(true)
    client.on('data', (chunk: Buffer) => (link.isHeld ? link.held.push(chunk) : server.write(chunk)))
    server.on('data', (chunk: Buffer) => {
      link.answers += chunk.length
      const give = () => {
        if (!link.isMute && !client.destroyed) client.write(chunk)
      }
      const { latency, answersAfter } = proxy
      if (latency === 0 && answersAfter === undefined && link.late === 0) return give()
      // One behind the other, also where the latency changes meanwhile.
      link.late++
      const due = new Promise((resolve) => setTimeout(resolve, latency))
      link.given = Promise.all([link.given, answersAfter, due]).then(() => {
        link.late--
        give()
      })
    })
    client.on('error', () => undefined)
    server.on('error', () => undefined)
    client.on('close', () => {
      if (!link.isHeld && !link.isMute) server.destroy()
    })
    server.on('close', () => client.destroy())
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const proxy = new Proxy((listener.address() as AddressInfo).port, target)
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    listener.close()
  })
  return proxy
}
