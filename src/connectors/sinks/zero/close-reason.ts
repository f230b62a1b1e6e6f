/** The reason in a close frame has at most 123 bytes (RFC 6455, section 5.5); `ws` throws on a longer one. */
const MAX_BYTES = 120

/** As much of a text as fits, however many bytes its characters have. */
export function closeReason(text: string): string {
  // A character that is cut becomes one of three bytes.
  return Buffer.from(text).subarray(0, MAX_BYTES).toString()
}
