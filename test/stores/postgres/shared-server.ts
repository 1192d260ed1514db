import type { TestProject } from 'vitest/node'

import { ownServerProblem, startFirstServer } from './server.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** The server that the files of a run share; undefined if none runs here. */
    readonly postgres: SharedServer | undefined
  }
}

/** A server that the files of a run share. */
export interface SharedServer {
  /** Of its superuser. */
  readonly url: string
  /** A folder for the data folders that are copied; undefined if the server was not started here. */
  readonly templates: string | undefined
}

/** Starts the server that all files of a run share, or takes that of `MNEME_TEST_POSTGRES`. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  const external = process.env.MNEME_TEST_POSTGRES
  if (external !== undefined) {
    project.provide('postgres', { url: external, templates: undefined })
    return undefined
  }
  if (ownServerProblem !== undefined) {
    project.provide('postgres', undefined)
    return undefined
  }
  const { server, templates } = await startFirstServer()
  project.provide('postgres', { url: server.url(), templates })
  return () => server.destroy()
}
