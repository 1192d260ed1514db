import { InvalidArgumentError } from '../base/errors.ts'

/** @throws InvalidArgumentError */
export function checkTitle(text: string, argument: string): string {
  if (typeof (text as unknown) === 'string' && text.trim() !== '') return text
  throw new InvalidArgumentError(argument, 'a text that is not blank')
}

/** A text that may be left out. @throws InvalidArgumentError */
export function checkSummary(text: string | undefined, argument: string): string | undefined {
  return text === undefined ? undefined : checkTitle(text, argument)
}
