/**
 * Decimal numbers as digits and an exponent of ten: Decimal128 (IEEE 754-2008, binary integer decimal encoding) and
 * doubles, which stand for the shortest decimal that reads back equal, or for their exact value from 2^53 on.
 */
import { int32 } from './bson.ts'
import { type CellArena, putAscii } from './cell-arena.ts'

/** A double of 10^308 has 309 digits. */
const DIGITS_MAX = 320
const BIAS = 6176
const ZERO = 0x30
const POINT = 0x2e
const MINUS = 0x2d

export class Decimal {
  /** `NaN`, `Infinity` or `-Infinity`; null for a number. */
  special: string | null = null
  negative = false
  /** 0 to 9 each, the first is not 0 unless it is the only one. */
  readonly digits = new Uint8Array(DIGITS_MAX)
  count = 0
  /** The value is `digits * 10^exponent`. */
  exponent = 0
  /** The digits as a binary number, 16 bits each, the most significant first. */
  readonly #limbs = new Uint16Array(8)

  /** Decimal128 of 16 bytes. */
  read(bytes: Uint8Array, at: number): this {
    const top = int32(bytes, at + 12)
    this.negative = top < 0
    this.special = null
    const limbs = this.#limbs
    for (let index = 0; index < 8; index++) {
      limbs[index] = (bytes[at + 15 - index * 2]! << 8) | bytes[at + 14 - index * 2]!
    }
    limbs[0] = (top >>> 16) & 1
    this.exponent = ((top >>> 17) & 0x3fff) - BIAS
    if ((top & 0x6000_0000) === 0x6000_0000) {
      if ((top & 0x7c00_0000) === 0x7c00_0000) this.special = 'NaN'
      else if ((top & 0x7800_0000) === 0x7800_0000) this.special = this.negative ? '-Infinity' : 'Infinity'
      // The other encoding of digits holds only numbers that are not canonical, and those are zeros.
      this.exponent = ((top >>> 15) & 0x3fff) - BIAS
      limbs.fill(0)
    }
    this.#count()
    // Larger than 34 digits is not canonical either.
    if (this.count > 34) this.#zero()
    return this
  }

  /** A double, see above. */
  readDouble(value: number): this {
    this.negative = value < 0 || Object.is(value, -0)
    this.special = Number.isFinite(value) ? null : String(value)
    if (this.special !== null) return this
    const size = Math.abs(value)
    if (size >= 2 ** 53) return this.#text(BigInt(size).toString(), 0)
    const [mantissa = '', exponent = '0'] = String(size).split('e')
    return this.#text(mantissa, Number(exponent))
  }

  readInteger(value: bigint): this {
    this.negative = value < 0n
    this.special = null
    return this.#text((value < 0n ? -value : value).toString(), 0)
  }

  get isZero(): boolean {
    return this.count === 1 && this.digits[0] === 0
  }

  /** Takes zeros behind the point away, and the sign of zero: what is equal has the same digits then. */
  normalize(): this {
    if (this.isZero) {
      this.negative = false
      this.exponent = 0
    }
    while (this.exponent < 0 && this.digits[this.count - 1] === 0) {
      this.count--
      this.exponent++
    }
    return this
  }

  /** Digits before the point, without leading zeros; not for special values. */
  get before(): number {
    return this.isZero ? 0 : Math.max(0, this.count + this.exponent)
  }

  /** Digits behind the point. */
  get behind(): number {
    return Math.max(0, -this.exponent)
  }

  /** Takes zeros away until at most `scale` digits are behind the point; false when another digit is in the way. */
  cut(scale: number): boolean {
    while (this.behind > scale && this.digits[this.count - 1] === 0) {
      if (this.count === 1) this.exponent = -scale
      else {
        this.count--
        this.exponent++
      }
    }
    return this.behind <= scale
  }

  /** Digits with `-` and `.`, no exponent; or the special name. */
  put(out: CellArena): void {
    if (this.special !== null) return putName(out, this.special)
    const { digits, count, exponent } = this
    out.reserve(count + Math.abs(exponent) + 3)
    const { arena } = out
    let to = out.used
    if (this.negative) arena[to++] = MINUS
    const whole = count + exponent
    if (this.isZero && exponent >= 0) arena[to++] = ZERO
    else {
      let index = 0
      if (whole <= 0) arena[to++] = ZERO
      for (; index < whole; index++) arena[to++] = ZERO + (index < count ? digits[index]! : 0)
      if (exponent < 0) {
        arena[to++] = POINT
        for (index = whole; index < count; index++) arena[to++] = ZERO + (index < 0 ? 0 : digits[index]!)
      }
    }
    out.used = to
  }

  /** The form of the Decimal128 specification: an exponent where it is shorter, zeros behind the point kept. */
  putScientific(out: CellArena): void {
    const adjusted = this.exponent + this.count - 1
    if (this.special !== null || (this.exponent <= 0 && adjusted >= -6)) return this.put(out)
    out.reserve(this.count + 10)
    const { arena } = out
    const { digits } = this
    let to = out.used
    if (this.negative) arena[to++] = MINUS
    arena[to++] = ZERO + digits[0]!
    if (this.count > 1) arena[to++] = POINT
    for (let index = 1; index < this.count; index++) arena[to++] = ZERO + digits[index]!
    out.used = to
    putAscii(out, `E${adjusted > 0 ? '+' : ''}${adjusted}`)
  }

  /** Plain digits as a string. */
  toString(): string {
    if (this.special !== null) return this.special
    const text = this.digits.subarray(0, this.count).join('')
    const sign = this.negative ? '-' : ''
    if (this.isZero && this.exponent >= 0) return `${sign}0`
    if (this.exponent >= 0) return sign + text + '0'.repeat(this.exponent)
    const padded = text.padStart(1 - this.exponent, '0')
    return `${sign}${padded.slice(0, this.exponent)}.${padded.slice(this.exponent)}`
  }

  /** Divides the limbs by 10^9 until nothing is left. */
  #count(): void {
    const { digits } = this
    const limbs = this.#limbs
    let start = 36
    let top = 0
    while (top < 8 && limbs[top] === 0) top++
    while (top < 8) {
      let rest = 0
      for (let index = top; index < 8; index++) {
        const part = rest * 65536 + limbs[index]!
        const quotient = Math.floor(part / 1_000_000_000)
        limbs[index] = quotient
        rest = part - quotient * 1_000_000_000
      }
      for (let index = 0; index < 9; index++) {
        const tenth = (rest / 10) | 0
        digits[--start] = rest - tenth * 10
        rest = tenth
      }
      while (top < 8 && limbs[top] === 0) top++
    }
    while (start < 36 && digits[start] === 0) start++
    if (start === 36) return this.#zero()
    digits.copyWithin(0, start, 36)
    this.count = 36 - start
  }

  #zero(): void {
    this.digits[0] = 0
    this.count = 1
  }

  /** Digits with at most one point. */
  #text(text: string, exponent: number): this {
    let count = 0
    let behind = 0
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index)
      if (code === POINT) {
        behind = text.length - index - 1
        continue
      }
      if (count === 0 && code === ZERO) continue
      this.digits[count++] = code - ZERO
    }
    this.count = count
    this.exponent = exponent - behind
    if (count === 0) this.#zero()
    return this
  }
}

function putName(out: CellArena, name: string): void {
  out.reserve(name.length)
  putAscii(out, name)
}
