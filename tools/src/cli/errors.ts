import { isMnemeError } from 'mneme'

import { hidingSecrets } from './secrets.ts'

/** The command was given wrongly. */
export class UsageError extends Error {}

/** How a command ends: the table of exit codes. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  'no-store': 3,
  findings: 4,
  interrupted: 130,
} as const

/** The exit code for an error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage
  if (!isMnemeError(error)) return EXIT.failed
  if (error.code === 'INVALID_ARGUMENT') return EXIT.usage
  return ['CANNOT_OPEN', 'STORE_UNAVAILABLE'].includes(error.code) ? EXIT['no-store'] : EXIT.failed
}

/** What people are told of an error: its message, and the messages of what caused it. URLs come without passwords. */
export function messageOf(error: unknown, hide = hidingSecrets([])): string {
  const messages: string[] = []
  for (let at = error; at instanceof Error && messages.length < 5; at = at.cause) messages.push(at.message)
  if (messages.length === 0) messages.push(String(error))
  return hide(messages.join(': '))
}
