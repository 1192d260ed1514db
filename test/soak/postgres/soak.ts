import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, onTestFinished, test as anyTest } from 'vitest'
import {
  ownServerProblem,
  startServer,
  systemBinaries,
  type TestServer,
} from '../../stores/postgres/server.ts'

export { isBrief, rounds } from '../../support/soak.ts'

/** A test that needs a server of its own. */
export const test = anyTest.skipIf(ownServerProblem)

/**
 * A server of a file's own, for its tests; with `MNEME_SOAK_POSTGRES=system` of the oldest version that the system has.
 */
export function soakServer(): () => TestServer {
  let server: TestServer | undefined
  beforeAll(async () => {
    if (ownServerProblem === undefined)
      server = await startServer(ofSystem ? { binaries: systemFolder() } : {})
    else console.log(`skipped: ${ownServerProblem}`)
  })
  afterAll(() => server?.destroy())
  return () => server!
}

const ofSystem = process.env.MNEME_SOAK_POSTGRES === 'system'

function systemFolder(): string {
  const system = systemBinaries()
  if (!system) throw new Error('the system has no PostgreSQL')
  return system.folder
}

/** A folder for a test's ledgers. */
export function ledgerFolder(): (name: string) => string {
  const folder = mkdtempSync(join(tmpdir(), 'mneme-ledgers-'))
  // Kept where something is wrong, to be looked at.
  onTestFinished(({ task }) => {
    if (task.result?.state === 'fail') console.log(`the ledgers are in ${folder}`)
    else rmSync(folder, { recursive: true, force: true })
  })
  return (name) => join(folder, name)
}

/** Resolves when no session of these processes works any more: what was still on its way has come. */
export async function calm(server: TestServer, url: string): Promise<void> {
  const database = new URL(url).pathname.slice(1)
  for (;;) {
    const [row] = await server.query(
      `SELECT count(*)::int AS sessions FROM pg_stat_activity
        WHERE datname = '${database}' AND application_name LIKE 'writer%' AND backend_type = 'client backend'`,
    )
    if (row?.sessions === 0) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** SQL that makes some commits wait for up to so many milliseconds, after their numbers were drawn. */
export function slowCommits(share: number, most: number): string {
  return `
    CREATE FUNCTION mneme.pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF random() < ${share} THEN PERFORM pg_sleep(random() * ${most} / 1000); END IF;
      RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER pause AFTER INSERT ON mneme.events DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION mneme.pause()`
}

/** How many calls whose connection was lost have been settled. */
export async function settlements(server: TestServer, url: string): Promise<number> {
  const database = new URL(url).pathname.slice(1)
  const [row] = await server.query('SELECT count(*)::int AS settled FROM mneme.settled', database)
  return row!.settled as number
}
