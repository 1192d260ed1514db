// A stand-in for the KurrentDB server, for machines that have none. It is a model: `stand-in.test.ts` runs over it and,
// with MNEME_TEST_KURRENTDB, over a real server, where it also compares the answers to random calls.
//
// Compared with version 26.1.0. What differs, and is known to:
// - Of subscriptions it has those to all streams; one that is slow never falls behind. It has no persistent ones,
//   projections or virtual streams (`$mem-…`, `$idx-…`), no users, no lists of access and no TLS. That access is denied
//   or another node leads is only ever a fault.
// - One log in one piece: no chunks, so positions leave no gap every 256 MiB; scavenging removes what a test names.
// - It remembers all ids; the real one as many as fit into some megabytes.
// - Regexes are JavaScript's: without `(?i)` and whatever else .NET has. Prefixes are compared nearly as ICU does.
// - Where a position is none that a record has, the code of the error is the same and its text is not; the real one
//   may also read what it finds there.
// - An error whose trailers would need more than ASCII is the status that grpc-js makes of HTTP's 500, not that itself.
// - The faults are what the real one would say, by its source; none of them was provoked there. `refused` with
//   `access-denied` names no stream in v2.

import { createServer, type Server as Listener, type Socket } from 'node:net'
import { randomInt } from 'node:crypto'
import {
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'

import { batchAppend } from './batch-append.ts'
import { featuresOf, gossipOf, hasMethod } from './cluster.ts'
import { Faults } from './faults.ts'
import { featuresService, gossipService, streamsService, streamsServiceV2 } from './generated.ts'
import { Log, nothing } from './log.ts'
import { withMessageLimit } from './message-limit.ts'
import type { Node } from './node.ts'
import { read } from './read-call.ts'
import { limits } from './record-size.ts'
import { append, softDelete, tombstone } from './streams-v1.ts'
import { appendRecords, appendSession } from './streams-v2.ts'
import { Writer } from './writer.ts'

export interface StandInOptions {
  /** Of the server, by default the newest that is modelled, 26.1.0: before 26.1, one without AppendRecords, and so on. */
  readonly version?: string
  /** As configured in the server, in bytes. */
  readonly maxEventSize?: number
  readonly maxAppendSize?: number
  /** As configured in the server, in milliseconds. */
  readonly writeTimeout?: number
}

/** A server of a test's own, in this process. It keeps its log in memory, also while it is stopped. */
export class StandIn implements AsyncDisposable {
  readonly faults = new Faults(() => this.cut())
  readonly log = firstLog()
  readonly writer = new Writer(this.log)
  readonly #listener: Listener
  readonly #sockets = new Set<Socket>()
  #port = 0

  /** @internal Use `standIn`. */
  constructor({ version = '26.1.0', ...options }: StandInOptions) {
    const node: Node = {
      log: this.log,
      writer: this.writer,
      faults: this.faults,
      maxEventSize: options.maxEventSize ?? limits.event,
      maxAppendSize: options.maxAppendSize ?? limits.append,
      writeTimeout: options.writeTimeout ?? 2_000,
    }
    const server = new Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 })
    const add = (definition: ServiceDefinition, implementation: UntypedServiceImplementation) => {
      const there = Object.entries(definition).filter(([, { path }]) => {
        const [service, method] = path.slice(1).toLowerCase().split('/')
        return hasMethod(version, service!, method!)
      })
      if (there.length > 0) server.addService(Object.fromEntries(there), implementation)
    }
    add(withMessageLimit(streamsService.StreamsService), {
      read: read(node),
      append: append(node),
      batchAppend: batchAppend(node),
      delete: softDelete(node),
      tombstone: tombstone(node),
    })
    add(streamsServiceV2.StreamsServiceService, {
      appendRecords: appendRecords(node),
      appendSession: appendSession(node),
    })
    add(gossipService.GossipService, { read: gossipOf(() => this.#port) })
    add(featuresService.ServerFeaturesService, { getSupportedMethods: featuresOf(version) })

    // With a listener of our own, connections can be cut.
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
    this.#listener = createServer({ noDelay: true }, (socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => this.#sockets.delete(socket))
      injector.injectConnection(socket)
    })
  }

  get port(): number {
    return this.#port
  }

  /** The client waits for the interval before its first read, by default for half a second. */
  get connectionString(): string {
    return `kurrentdb://127.0.0.1:${this.#port}?tls=false&discoveryInterval=1`
  }

  /** Where the client asks for the leader first. */
  get discoveryString(): string {
    return `kurrentdb+discover://127.0.0.1:${this.#port}?tls=false&discoveryInterval=1`
  }

  /** Starts it on its port, with its log, and without memory of the ids that it was given. */
  async start(): Promise<void> {
    this.writer.memory.forget()
    if (this.#port !== 0 && !this.#listener.listening) this.log.beginEpoch()
    while (this.#port === 0) {
      const port = randomInt(10_000, 30_000)
      if (await this.#listen(port)) this.#port = port
    }
    if (!this.#listener.listening && !(await this.#listen(this.#port))) {
      throw new Error(`port ${this.#port} is taken meanwhile`)
    }
  }

  /** Stops it as in a crash: what is under way gets no answer. */
  async stop(): Promise<void> {
    if (!this.#listener.listening) return
    const closed = new Promise((resolve) => this.#listener.close(resolve))
    this.cut()
    await closed
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  /** Cuts all connections; others can be made. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** The end of the log, to `restore` it. */
  backUp(): bigint {
    return this.log.end
  }

  /** Stops it, loses what was written since, and starts it again. */
  async restore(end: bigint): Promise<void> {
    await this.stop()
    this.log.truncate(end)
    await this.start()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #listen(port: number): Promise<boolean> {
    return new Promise((resolve) => {
      const fail = () => resolve(false)
      this.#listener.once('error', fail)
      this.#listener.listen(port, '127.0.0.1', () => {
        this.#listener.off('error', fail)
        resolve(true)
      })
    })
  }
}

/** What a server has of its own, from the beginning; the statistics only where it is configured to keep them. */
function firstLog(): Log {
  const log = new Log()
  const write = (stream: string, type: string, data: string) =>
    log.append({ ...nothing(stream), type, isJson: true, data: Buffer.from(data) }, 0n)
  const acl = '{"$r":"$ops","$w":[],"$d":[],"$mr":[],"$mw":[]}'
  write('$$$scavenges', '$metadata', `{"$maxAge":2592000,"$acl":${acl}}`)
  write('$$$stats-127.0.0.1:2113', '$metadata', '{"$maxAge":86400,"$maxCount":10000}')
  write('$stats-127.0.0.1:2113', '$statsCollected', '{"proc-mem":1,"sys-cpu":1}')
  return log
}

/** Starts a stand-in. Stop it, or dispose of it. */
export async function standIn(options: StandInOptions = {}): Promise<StandIn> {
  const server = new StandIn(options)
  await server.start()
  return server
}
