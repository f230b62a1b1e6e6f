/**
 * Watermarks as zero-cache and its clients compare them: base 36 in lower case, prefixed by one digit that says how many
 * digits follow, less one (LexiVersion). Order as text is order as numbers.
 */

/** The LexiVersion of a number from 0. */
export function toLexi(version: bigint): string {
  const digits = version.toString(36)
  return (digits.length - 1).toString(36) + digits
}

/** The number of a LexiVersion; null for any other text, such as a version with a minor part. */
export function fromLexi(text: string): bigint | null {
  if (!/^[0-9a-z]{2,37}$/.test(text)) return null
  const digits = text.slice(1)
  if (Number.parseInt(text[0]!, 36) !== digits.length - 1) return null
  if (digits.length > 1 && digits.startsWith('0')) return null
  let value = 0n
  for (const digit of digits) value = value * 36n + BigInt(Number.parseInt(digit, 36))
  return value
}
