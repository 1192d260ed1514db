// What other processes do in the tests: node worker.mjs TASK URL ...
// It runs the built package, as a user's process would.

import { postgresStore } from 'mneme/postgres'

const [task, url, ...args] = process.argv.slice(2)

const tasks = { open, append, drip, exit }
await tasks[task](...args)

/** Opens, when told to, and says the identity. */
async function open() {
  say('ready')
  await new Promise((resolve) => process.stdin.once('data', resolve))
  process.stdin.destroy()
  const store = await postgresStore(url)
  say(JSON.stringify(await store.identity()))
  await store.close()
}

/** Several callers append to a few streams; says what was acknowledged: stream, revision, id, position. */
async function append(callers, rounds, streams) {
  const store = await postgresStore(url, { standbys: true })
  const ledger = []
  const caller = async (n) => {
    for (let i = 0; i < Number(rounds); i++) {
      const { events } = await store.append({
        stream: `s-${(n + i) % Number(streams)}`,
        events: [{ type: 'Happened', data: { n: i } }],
      })
      for (const { stream, revision, id, position } of events) ledger.push([stream, revision, id, position])
    }
  }
  await Promise.all(Array.from({ length: Number(callers) }, (_, n) => caller(n)))
  await store.close()
  say(JSON.stringify(ledger))
}

/** Appends one event after the other, with a pause between; says when each was acknowledged. */
async function drip(events, pause) {
  const store = await postgresStore(url)
  const times = []
  for (let n = 0; n < Number(events); n++) {
    await store.append({ stream: 'drip', events: [{ type: 'Happened', data: { n } }] })
    times.push(performance.timeOrigin + performance.now())
    await new Promise((resolve) => setTimeout(resolve, Number(pause)))
  }
  await store.close()
  say(JSON.stringify(times))
}

/** Ends by itself when the store is closed. */
async function exit() {
  // No time-out of the pool's own ends a connection that was not given back.
  const store = await postgresStore({ connectionString: url, idleTimeoutMillis: 0 })
  await store.append({ stream: 's', events: [{ type: 'Happened', data: { n: 0 } }] })
  for await (const event of store.readAll()) say(event.stream)
  await store.close()
  say('closed')
  await new Promise((resolve) => setTimeout(resolve))
  const kept = process.getActiveResourcesInfo().filter((name) => /Timeout|Immediate/.test(name))
  say(JSON.stringify(kept))
}

function say(line) {
  process.stdout.write(`${line}\n`)
}
