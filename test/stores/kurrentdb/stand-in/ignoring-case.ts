/** A name as .NET compares it where case does not count: nothing beyond ASCII is a letter of ASCII. */
export function ignoringCase(name: string): string {
  return name.replace(/./gsu, upper)
}

function upper(char: string): string {
  const its = char.toUpperCase()
  return its.length !== char.length || (its <= '\x7f' && char > '\x7f') ? char : its
}
