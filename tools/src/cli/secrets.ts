/**
 * Makes a text fit to be shown: no password of a URL stays in it. URLs that were given are known as a whole, so that a password may
 * have any character; of others, as a driver writes them, what stands between the user's name and the host goes.
 */
export function hidingSecrets(given: readonly (string | undefined)[]): (text: string) => string {
  const urls = given
    .flatMap((text) => (text !== undefined && SCHEME.test(text) ? [text.slice(text.search(SCHEME))] : []))
    // Those within others are replaced last.
    .sort((a, b) => b.length - a.length)
  return (text) => {
    const known = urls.reduce((shown, url) => shown.replaceAll(url, withoutSecrets(url)), text)
    return known.replace(/\w:\/\/\S+/g, withoutSecrets)
  }
}

const SCHEME = /\w:\/\//

function withoutSecrets(url: string): string {
  return url.replace(/(:\/\/[^/:]*:).*@/s, '$1***@').replace(/([?&]\w*pass\w*=)[^&]*/gi, '$1***')
}
