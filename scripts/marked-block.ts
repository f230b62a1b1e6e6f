/**
 * The text with what stands between `<!-- <name>:begin -->` and `<!-- <name>:end -->` replaced; null when it has no
 * such markers. Everything else in a file is written by hand.
 */
export function withBlock(text: string, name: string, body: string): string | null {
  const opening = `<!-- ${name}:begin -->`
  const begin = text.indexOf(opening)
  const end = text.indexOf(`<!-- ${name}:end -->`)
  if (begin < 0 || end < begin) return null
  return `${text.slice(0, begin + opening.length)}\n${body}\n${text.slice(end)}`
}
