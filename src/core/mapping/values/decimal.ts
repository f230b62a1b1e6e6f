/**
 * Decimal numbers of any size, exact, with the rounding of IEEE 754-2008 decimal128 (34 digits, half to even) where a
 * result needs it.
 */

/** `digits` / 10^`scale`. The scale is kept as written, so that 1.00 stays 1.00; it may be negative. */
export interface Decimal {
  readonly digits: bigint
  readonly scale: number
}

/** Toward zero, down, up, or to the nearest with ties to the even digit. */
export type Rounding = 'truncate' | 'floor' | 'ceil' | 'half-even'

const PRECISION = 34
/** Of the first digit and of the last one that decimal128 can hold. */
const EXPONENT_MAX = 6144
const EXPONENT_MIN = -6176

/** `-12.50`, also `1e3`; null for all else, such as `NaN` and `Infinity`. */
export function parseDecimal(text: string): Decimal | null {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,5}))?$/.exec(text)
  if (match === null) return null
  const [, sign, whole = '', fraction = '', exponent = '0'] = match
  if (whole === '' && fraction === '') return null
  const digits = BigInt(whole + fraction)
  return { digits: sign === '-' ? -digits : digits, scale: fraction.length - Number(exponent) }
}

/** The exact value of a finite double, which is a binary fraction. */
export function decimalOfDouble(value: number): Decimal {
  if (Number.isInteger(value)) return { digits: BigInt(value), scale: 0 }
  let mantissa = value
  let scale = 0
  // Doubling is exact until the mantissa is whole; 2^-n is 5^n / 10^n.
  while (!Number.isInteger(mantissa)) {
    mantissa *= 2
    scale++
  }
  return { digits: BigInt(mantissa) * 5n ** BigInt(scale), scale }
}

/** Plain digits, never an exponent. */
export function decimalText({ digits, scale }: Decimal): string {
  const sign = digits < 0n ? '-' : ''
  const text = magnitude(digits).toString()
  if (scale <= 0) return digits === 0n ? '0' : sign + text + '0'.repeat(-scale)
  const padded = text.padStart(scale + 1, '0')
  return `${sign}${padded.slice(0, -scale)}.${padded.slice(-scale)}`
}

export function compareDecimals(a: Decimal, b: Decimal): number {
  const scale = Math.max(a.scale, b.scale)
  const left = shifted(a, scale)
  const right = shifted(b, scale)
  return left < right ? -1 : left > right ? 1 : 0
}

export function addDecimals(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale)
  return toPrecision({ digits: shifted(a, scale) + shifted(b, scale), scale }, PRECISION)
}

export function negated({ digits, scale }: Decimal): Decimal {
  return { digits: -digits, scale }
}

export function multiplyDecimals(a: Decimal, b: Decimal): Decimal {
  return toPrecision({ digits: a.digits * b.digits, scale: a.scale + b.scale }, PRECISION)
}

/** The divisor is not zero. An exact quotient has no more decimals than it needs. */
export function divideDecimals(a: Decimal, b: Decimal): Decimal {
  // Enough digits that a remainder can only matter as "more than nothing" behind them.
  const extra = Math.max(0, PRECISION + 2 + width(b.digits) - width(a.digits))
  const dividend = a.digits * 10n ** BigInt(extra)
  const quotient = dividend / b.digits
  const scale = a.scale - b.scale + extra
  if (dividend % b.digits === 0n) {
    return toPrecision(shortened({ digits: quotient, scale }, a.scale - b.scale), PRECISION)
  }
  // A last digit 1 stands for what is left of the remainder, so that ties are none.
  const sticky = quotient * 10n + (dividend < 0n === b.digits < 0n ? 1n : -1n)
  return toPrecision({ digits: sticky, scale: scale + 1 }, PRECISION)
}

/** What is left of a division toward zero; it has the sign of `a`. The divisor is not zero. */
export function remainderOfDecimals(a: Decimal, b: Decimal): Decimal {
  const scale = Math.max(a.scale, b.scale)
  return { digits: shifted(a, scale) % shifted(b, scale), scale }
}

/** With exactly `scale` digits behind the point; negative for tens, hundreds and so on. */
export function toScale(value: Decimal, scale: number, rounding: Rounding): Decimal {
  if (scale >= value.scale) return { digits: shifted(value, scale), scale }
  const unit = 10n ** BigInt(value.scale - scale)
  const quotient = value.digits / unit
  const rest = value.digits % unit
  return { digits: quotient + step(quotient, rest, unit, rounding), scale }
}

/** With at most that many significant digits, rounded half to even. */
export function toPrecision(value: Decimal, precision: number): Decimal {
  const excess = width(value.digits) - precision
  if (excess <= 0) return value
  const rounded = toScale(value, value.scale - excess, 'half-even')
  // 9.99 rounded up has one digit more.
  return width(rounded.digits) > precision ? toPrecision(rounded, precision) : rounded
}

/** Whether decimal128 holds it without further rounding. */
export function fitsDecimal128({ digits, scale }: Decimal): boolean {
  if (digits === 0n) return true
  return width(digits) - 1 - scale <= EXPONENT_MAX && -scale >= EXPONENT_MIN
}

function step(quotient: bigint, rest: bigint, unit: bigint, rounding: Rounding): bigint {
  if (rest === 0n) return 0n
  const away = rest < 0n ? -1n : 1n
  switch (rounding) {
    case 'truncate':
      return 0n
    case 'floor':
      return rest < 0n ? -1n : 0n
    case 'ceil':
      return rest > 0n ? 1n : 0n
    case 'half-even': {
      const twice = magnitude(rest) * 2n
      if (twice === unit) return quotient % 2n === 0n ? 0n : away
      return twice > unit ? away : 0n
    }
  }
}

/** Without zeros at the end, down to `scale` digits behind the point. */
function shortened(value: Decimal, scale: number): Decimal {
  let { digits, scale: now } = value
  while (now > Math.max(scale, 0) && digits % 10n === 0n) {
    digits /= 10n
    now--
  }
  return { digits, scale: now }
}

function shifted({ digits, scale }: Decimal, to: number): bigint {
  return digits * 10n ** BigInt(to - scale)
}

function width(digits: bigint): number {
  return digits === 0n ? 0 : magnitude(digits).toString().length
}

function magnitude(digits: bigint): bigint {
  return digits < 0n ? -digits : digits
}
