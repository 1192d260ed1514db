const hundredths = new Intl.NumberFormat('en', { minimumFractionDigits: 2 })
const units = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })

/** An amount in hundredths, as people write it. */
export function money(amount: number): string {
  return hundredths.format(amount / 100)
}

export function whole(n: number): string {
  return units.format(n)
}

export function count(n: number, noun: string): string {
  return `${whole(n)} ${noun}${n === 1 ? '' : 's'}`
}

/**
 * The URL of a store, to be shown: without its password, and without parameters, of which one may be a password.
 * (`URL` does not know URLs with several hosts.)
 */
export function withoutPassword(url: string): string {
  const [, scheme, user, place] = /^([a-z+]+:\/\/)(?:([^:@]*)(?::.*)?@)?([^?]*)/.exec(url) ?? []
  if (scheme === undefined || place === undefined) return url
  return `${scheme}${user === undefined ? '' : `${user}@`}${place}`
}

const colours = process.stdout.isTTY && !process.env.NO_COLOR
const paint = (code: number) => (text: string) => (colours ? `\x1b[${code}m${text}\x1b[0m` : text)

export const bold = paint(1)
export const red = paint(31)
export const green = paint(32)
