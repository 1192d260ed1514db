import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import { openStore } from 'mneme'

import { tellerAt, type Result, type Teller } from './teller.ts'
import type { Transaction } from './transactions.ts'

// This file is both ends: what the main process calls, and, run as a program, the second process itself.

type Answer = { readonly id: string } & ({ readonly result: Result } | { readonly error: string })

/** Starts a second process with a teller of its own, on the same store. */
export function startSecondProcess(url: string): { teller: Teller; stop: () => void } {
  const child = fork(fileURLToPath(import.meta.url), [url])
  const waiting = new Map<string, { resolve: (result: Result) => void; reject: (error: Error) => void }>()
  child.on('message', (answer: Answer) => {
    const caller = waiting.get(answer.id)
    waiting.delete(answer.id)
    if ('result' in answer) caller?.resolve(answer.result)
    else caller?.reject(new Error(`in the second process: ${answer.error}`))
  })
  child.on('exit', () => {
    for (const { reject } of waiting.values())
      reject(new Error('the second process ended before its work did'))
  })
  return {
    teller: (transaction) =>
      new Promise((resolve, reject) => {
        waiting.set(transaction.id, { resolve, reject })
        child.send(transaction, (error) => error && reject(error))
      }),
    stop: () => child.connected && child.disconnect(),
  }
}

function serve(url: string): void {
  const opening = openStore(url)
  const tellerOpening = opening.then(tellerAt)
  process.on('message', (transaction: Transaction) => {
    const { id } = transaction
    void tellerOpening
      .then((teller) => teller(transaction))
      .then(
        (result): Answer => ({ id, result }),
        (error: unknown): Answer => ({ id, error: error instanceof Error ? error.message : String(error) }),
      )
      // Where the main process is gone, nobody waits for the answer.
      .then((answer) => process.connected && process.send?.(answer, () => {}))
  })
  process.on('disconnect', () => void opening.then((store) => store.close()))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  // Ctrl-C reaches both processes: the main one says when the work is done.
  process.on('SIGINT', () => {})
  serve(process.argv[2]!)
}
