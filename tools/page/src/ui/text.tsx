import type { ComponentChildren } from 'preact'

/**
 * A name or a value from the store. Characters that nobody sees, or that turn the direction of writing, are shown by their
 * numbers, so that a name looks like no other.
 */
export function Text({ value }: { readonly value: string }) {
  const parts: ComponentChildren[] = []
  let from = 0
  for (const match of value.matchAll(INVISIBLE)) {
    if (match.index > from) parts.push(value.slice(from, match.index))
    parts.push(<span class="escape">{escapeOf(match[0])}</span>)
    from = match.index + match[0].length
  }
  parts.push(value.slice(from))
  return <bdi>{parts}</bdi>
}

/** The same as plain text, for titles and labels. */
export function visible(value: string): string {
  return value.replace(INVISIBLE, escapeOf)
}

function escapeOf(character: string): string {
  const short = SHORT[character]
  if (short !== undefined) return short
  return `\\u{${character.codePointAt(0)!.toString(16)}}`
}

const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

const INVISIBLE =
  // eslint-disable-next-line no-control-regex -- these are what is looked for
  /[\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]|\udb40[\udc00-\udfff]/g
