import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { connect as dial, createServer as listen, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { jetstreamManager } from '@nats-io/jetstream'
import { connect, nanos } from '@nats-io/transport-node'
import { createClient } from '@redis/client'
import amqplib from 'amqplib'
import { Webhook } from 'standardwebhooks'
import { onTestFinished } from 'vitest'
import { natsSender } from '../../examples/relays/nats.ts'
import { rabbitmqSender } from '../../examples/relays/rabbitmq.ts'
import { redisSender } from '../../examples/relays/redis.ts'
import type { Sender } from '../../examples/relays/sender.ts'
import { webhookSender } from '../../examples/relays/webhook.ts'
import { testFolder } from '../stores/sqlite/folder.ts'

/** A CloudEvent, as a broker keeps it. */
export interface Received {
  readonly id: string
  readonly subject: string
  readonly [attribute: string]: unknown
}

/** A broker of the test's own, on the loopback interface, with a folder of its own. */
export interface Broker {
  readonly port: number
  /** Kills it, as a power failure of its process would. */
  kill(): Promise<void>
  /** Starts it again, with its data. */
  start(): Promise<void>
  /** A sender to it, or to what stands before it on another port. */
  sender(port?: number): Sender
  /** All that it has kept, in its order. */
  received(): Promise<readonly Received[]>
}

export const source = 'https://shop.example/orders'
const host = '127.0.0.1'

/** The brokers that relays are proved against. */
export const brokers: readonly {
  readonly name: string
  readonly problem?: string | undefined
  /** Whether it takes an event that is sent again for the same one. */
  readonly isIdempotent: boolean
  open(): Promise<Broker>
}[] = [
  { name: 'NATS JetStream', problem: missing('nats-server'), isIdempotent: true, open: () => openNats() },
  {
    name: 'RabbitMQ',
    problem: missing(rabbitmqServer(), 'epmd'),
    isIdempotent: false,
    open: () => openRabbitmq(),
  },
  { name: 'Redis', problem: missing(redisServer()), isIdempotent: true, open: openRedis },
  { name: 'a webhook', isIdempotent: false, open: openWebhook },
]

function missing(...programs: readonly string[]): string | undefined {
  const absent = programs.find((program) => spawnSync('which', [program]).status !== 0)
  return absent === undefined ? undefined : `${absent} is not installed`
}

function redisServer(): string {
  return missing('valkey-server') === undefined ? 'valkey-server' : 'redis-server'
}

/** The program itself: Debian's wrapper changes to the user and the folders of the system's own server. */
function rabbitmqServer(): string {
  const program = '/usr/lib/rabbitmq/bin/rabbitmq-server'
  return existsSync(program) ? program : 'rabbitmq-server'
}

/** @param duplicateWindow of the stream, in milliseconds. */
export async function openNats(duplicateWindow = 120_000): Promise<Broker> {
  const [port, folder] = [await freePort(), testFolder()]
  const server = new Daemon('nats-server', ['-js', '-a', host, '-p', String(port), '-sd', folder], { port })
  await server.start()
  const servers = `${host}:${String(port)}`
  const connection = await connect({ servers })
  const manager = await jetstreamManager(connection)
  await manager.streams.add({
    name: 'events',
    subjects: ['events.>'],
    duplicate_window: nanos(duplicateWindow),
  })
  await connection.close()
  return {
    ...{ port, kill: () => server.kill(), start: () => server.start() },
    sender: (through = port) =>
      natsSender({ servers: `${host}:${String(through)}`, stream: 'events', source }),
    received: async () => {
      const connection = await connect({ servers })
      const { streams } = await jetstreamManager(connection)
      const { last_seq: last } = (await streams.info('events')).state
      const received: Received[] = []
      for (let seq = 1; seq <= last; seq++) {
        const message = await streams.getMessage('events', { seq })
        if (message) received.push(message.json<Received>())
      }
      await connection.close()
      return received
    },
  }
}

/** @param isBound whether a queue takes the events from the beginning. */
export async function openRabbitmq(isBound = true): Promise<Broker & { bind(): Promise<void> }> {
  const [port, distribution, names, folder] = [
    await freePort(),
    await freePort(),
    await freePort(),
    testFolder(),
  ]
  // The daemon of names that Erlang would start otherwise outlives the test.
  const daemonOfNames = new Daemon('epmd', ['-address', host, '-port', String(names)], { port: names })
  await daemonOfNames.start()
  const env = {
    HOME: folder,
    ERL_EPMD_PORT: String(names),
    ERL_EPMD_ADDRESS: host,
    RABBITMQ_NODENAME: `mneme-${String(port)}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: host,
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}',
  }
  const server = new Daemon(rabbitmqServer(), [], { port, env })
  await server.start()
  const url = `amqp://guest:guest@${host}:${String(port)}`
  const withChannel = async <T>(work: (channel: amqplib.Channel) => Promise<T>) => {
    const connection = await amqplib.connect(url)
    const done = await work(await connection.createChannel())
    await connection.close()
    return done
  }
  const bind = () =>
    withChannel(async (channel) => {
      await channel.assertQueue('received', { durable: true })
      await channel.bindQueue('received', 'events', '#')
    })
  await withChannel((channel) => channel.assertExchange('events', 'topic', { durable: true }))
  if (isBound) await bind()
  return {
    ...{ port, bind, kill: () => server.kill(), start: () => server.start() },
    sender: (through = port) =>
      rabbitmqSender({ url: `amqp://guest:guest@${host}:${String(through)}`, exchange: 'events', source }),
    received: () =>
      withChannel(async (channel) => {
        const received: Received[] = []
        for (;;) {
          const message = await channel.get('received', { noAck: true })
          if (message === false) return received
          received.push(JSON.parse(message.content.toString()) as Received)
        }
      }),
  }
}

async function openRedis(): Promise<Broker> {
  const [port, folder] = [await freePort(), testFolder()]
  const options = ['--bind', host, '--port', String(port), '--dir', folder]
  const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--save', '']
  const server = new Daemon(redisServer(), [...options, ...durable], { port })
  await server.start()
  return {
    ...{ port, kill: () => server.kill(), start: () => server.start() },
    sender: (through = port) =>
      redisSender({ url: `redis://${host}:${String(through)}`, stream: 'events', source }),
    received: async () => {
      const client = createClient({ url: `redis://${host}:${String(port)}` })
      await client.connect()
      const entries = await client.xRange('{events}', '-', '+')
      client.destroy()
      return (entries ?? []).map(({ message }) => JSON.parse(message.event!) as Received)
    },
  }
}

/** A receiver of webhooks that checks signatures; what it has confirmed is taken for written down. */
async function openWebhook(): Promise<Broker> {
  const secret = `whsec_${randomBytes(24).toString('base64')}`
  const received: Received[] = []
  const port = await freePort()
  let server: Server | undefined
  const start = async () => {
    server = createServer((request, response) => {
      void (async () => {
        let body = ''
        for await (const chunk of request.setEncoding('utf8')) body += String(chunk)
        const event = new Webhook(secret).verify(body, request.headers as Record<string, string>) as Received
        if (event.id !== request.headers['webhook-id']) throw new Error('a message of another id')
        received.push(event)
        response.writeHead(204).end()
      })().catch(() => response.destroy())
    })
    server.listen(port, host)
    await once(server, 'listening')
  }
  const kill = async () => {
    const closed = once(server!, 'close')
    server!.close()
    server!.closeAllConnections()
    await closed
  }
  onTestFinished(kill)
  await start()
  return {
    ...{ port, kill, start },
    sender: (through = port) => webhookSender({ url: `http://${host}:${String(through)}`, secret, source }),
    received: () => Promise.resolve(received),
  }
}

/** A server as a process, which ends with the test. */
class Daemon {
  readonly #program: string
  readonly #options: readonly string[]
  readonly #port: number
  readonly #env: NodeJS.ProcessEnv
  #child: ChildProcess | undefined

  constructor(
    program: string,
    options: readonly string[],
    { port, env = {} }: { readonly port: number; readonly env?: NodeJS.ProcessEnv },
  ) {
    this.#program = program
    this.#options = options
    this.#port = port
    this.#env = env
    onTestFinished(() => this.kill())
  }

  /** Resolves when it accepts connections. */
  async start(): Promise<void> {
    // A group of its own, so that what it starts is killed with it.
    const options = { stdio: 'ignore', detached: true, env: { ...process.env, ...this.#env } } as const
    const child = spawn(this.#program, this.#options, options)
    this.#child = child
    while (!(await this.#accepts())) {
      if (child.exitCode !== null) throw new Error(`${this.#program} ended with ${String(child.exitCode)}`)
      await delay(20)
    }
  }

  #accepts(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = dial(this.#port, host)
      socket.on('connect', () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => {
        resolve(false)
      })
    })
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    process.kill(-child.pid, 'SIGKILL')
    await ended
  }
}

async function freePort(): Promise<number> {
  const server = listen().listen(0, host)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
