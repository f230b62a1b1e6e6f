/**
 * A fast hash of 64 bits, as two halves of 32: MurmurHash3 (Austin Appleby, public domain) in its 32-bit form with two
 * lanes that feed each other. Good against accidents, not against somebody who looks for collisions.
 */

/** The two halves while bytes are taken in. */
export type HashState = Int32Array

export function start(state: HashState): void {
  state[0] = 0x2545f491
  state[1] = 0x1f83d9ab
}

/** Takes in one number of 32 bits. */
export function mixWord(word: number, state: HashState): void {
  mixInto(word, state[0]!, state[1]!, state)
}

/** Takes in a length and so many bytes: what follows cannot be taken for a part of it. */
export function mixBytes(bytes: Uint8Array, from: number, to: number, state: HashState): void {
  mixInto(to - from, state[0]!, state[1]!, state)
  let h1 = state[0]!
  let h2 = state[1]!
  let at = from
  while (at < to) {
    let word: number
    if (at + 4 <= to) {
      word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
      at += 4
    } else {
      word = bytes[at++]!
      if (at < to) word |= bytes[at++]! << 8
      if (at < to) word |= bytes[at++]! << 16
    }
    let k = Math.imul(word, 0x239b961b)
    k = Math.imul((k << 15) | (k >>> 17), 0xab0e9789 | 0)
    h1 ^= k
    h1 = (Math.imul(((h1 << 19) | (h1 >>> 13)) + h2, 5) + 0x561ccd1b) | 0
    k = Math.imul(word, 0x38b34ae5)
    k = Math.imul((k << 17) | (k >>> 15), 0xa1e38b93 | 0)
    h2 ^= k
    h2 = (Math.imul(((h2 << 17) | (h2 >>> 15)) + h1, 5) + 0x0bcaa747) | 0
  }
  state[0] = h1
  state[1] = h2
}

/** The finished hash; `state` may go on. Writes both halves to `into[at]` and `into[at + 1]`. */
export function finish(state: HashState, into: Int32Array, at: number): void {
  let h1 = (state[0]! + state[1]!) | 0
  let h2 = (state[1]! + h1) | 0
  h1 = avalanche(h1)
  h2 = avalanche(h2)
  h1 = (h1 + h2) | 0
  into[at] = h1
  into[at + 1] = (h2 + h1) | 0
}

function mixInto(word: number, a: number, b: number, state: HashState): void {
  let k = Math.imul(word, 0x239b961b)
  k = Math.imul((k << 15) | (k >>> 17), 0xab0e9789 | 0)
  const h1 = a ^ k
  const first = (Math.imul(((h1 << 19) | (h1 >>> 13)) + b, 5) + 0x561ccd1b) | 0
  k = Math.imul(word, 0x38b34ae5)
  k = Math.imul((k << 17) | (k >>> 15), 0xa1e38b93 | 0)
  const h2 = b ^ k
  state[0] = first
  state[1] = (Math.imul(((h2 << 17) | (h2 >>> 15)) + first, 5) + 0x0bcaa747) | 0
}

function avalanche(value: number): number {
  let h = value
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return h ^ (h >>> 16)
}
