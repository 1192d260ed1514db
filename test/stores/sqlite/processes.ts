import { ScriptProcess } from '../../support/processes.ts'

/** A process that runs a task of `worker.mjs` on the built package. */
export class Worker extends ScriptProcess {
  constructor(task: string, ...args: (string | number)[]) {
    super(new URL('worker.mjs', import.meta.url), task, ...args)
  }
}
