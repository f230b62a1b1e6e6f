/** Plain digits to the 16 bytes of a Decimal128 (IEEE 754-2008, binary integer decimal encoding). */
import { InternalError } from '../../../../core/error.ts'

const BIAS = 6176n
const DIGITS = 34
const EXPONENT_MAX = 6111
const EXPONENT_MIN = -6176

const SPECIAL: Readonly<Record<string, bigint>> = {
  NaN: 0x7c00n << 112n,
  Infinity: 0x7800n << 112n,
  '-Infinity': 0xf800n << 112n,
}

/** `text`: digits with `-` and `.`, or a special name. The form that `DocumentValue` has. */
export function decimal128(text: string): Uint8Array {
  const special = SPECIAL[text]
  if (special !== undefined) return littleEndian(special)
  const [, sign, whole = '', part = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text) ?? []
  let digits = (whole + part).replace(/^0+(?=\d)/, '')
  let exponent = -part.length
  let length = digits.length
  while (length > 1 && digits[length - 1] === '0' && (length > DIGITS || exponent < EXPONENT_MIN)) {
    length--
    exponent++
  }
  digits = digits.slice(0, length)
  if (digits === '0') exponent = Math.min(Math.max(exponent, EXPONENT_MIN), EXPONENT_MAX)
  if (sign === undefined || digits.length > DIGITS || exponent < EXPONENT_MIN || exponent > EXPONENT_MAX) {
    throw new InternalError('mongodb/not-a-decimal', 'a computed decimal has no form of 128 bits')
  }
  const bits = ((BigInt(exponent) + BIAS) << 113n) | BigInt(digits)
  return littleEndian(sign === '-' ? bits | (1n << 127n) : bits)
}

function littleEndian(bits: bigint): Uint8Array {
  const bytes = new Uint8Array(16)
  for (let index = 0; index < 16; index++) bytes[index] = Number((bits >> BigInt(index * 8)) & 0xffn)
  return bytes
}
