import type { Arena } from '../../../core/packed-rows.ts'
import type { CellReader } from './cell-readers.ts'
import { writeDigits, writePadded } from './number-readers.ts'
import type { RowWriter } from './row-writer.ts'

/** Date32: days since 1970. */
export function readDate32(input: Arena, at: number, end: number, out: RowWriter): number {
  if (at + 4 > end) return -1
  writeDay(input.readInt32LE(at), out)
  return at + 4
}

/** DateTime64(digits): ticks of 10^-digits seconds since 1970; zeros at the end of the fraction are left out. */
export function timestampReader(digits: number, zoned: boolean): CellReader {
  const factor = 10 ** digits
  return (input, at, end, out) => {
    if (at + 8 > end) return -1
    const high = input.readInt32LE(at + 4)
    let seconds: number
    let fraction: number
    if (high >= -0x20_0000 && high < 0x20_0000) {
      const ticks = high * 4294967296 + input.readUInt32LE(at)
      seconds = Math.floor(ticks / factor)
      fraction = ticks - seconds * factor
      // The quotient may have been rounded up to a whole second.
      if (fraction < 0) {
        seconds--
        fraction += factor
      }
    } else {
      const ticks = input.readBigInt64LE(at)
      const step = BigInt(factor)
      const rest = ((ticks % step) + step) % step
      seconds = Number((ticks - rest) / step)
      fraction = Number(rest)
    }
    const day = Math.floor(seconds / 86400)
    const second = seconds - day * 86400
    writeDay(day, out)
    const { bytes } = out
    bytes[out.at++] = 0x20
    writePadded((second / 3600) | 0, 2, out)
    bytes[out.at++] = 0x3a
    writePadded(((second / 60) | 0) % 60, 2, out)
    bytes[out.at++] = 0x3a
    writePadded(second % 60, 2, out)
    if (fraction !== 0) {
      bytes[out.at++] = 0x2e
      writePadded(fraction, digits, out)
      while (bytes[out.at - 1] === 0x30) out.at--
    }
    if (zoned) {
      bytes[out.at++] = 0x2b
      bytes[out.at++] = 0x30
      bytes[out.at++] = 0x30
    }
    return at + 8
  }
}

/** `YYYY-MM-DD` of days since 1970 in the Gregorian calendar. Years are counted from March, see `cell-times.ts`. */
function writeDay(day: number, out: RowWriter): void {
  const days = day + 719468
  const cycle = Math.floor(days / 146097)
  const ofCycle = days - cycle * 146097
  const years =
    ((ofCycle - ((ofCycle / 1460) | 0) + ((ofCycle / 36524) | 0) - ((ofCycle / 146096) | 0)) / 365) | 0
  const ofYear = ofCycle - (365 * years + (years >> 2) - ((years / 100) | 0))
  const monthFromMarch = ((5 * ofYear + 2) / 153) | 0
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
  const year = years + cycle * 400 + (month <= 2 ? 1 : 0)
  if (year > 9999) writeDigits(year, out)
  else writePadded(year, 4, out)
  out.bytes[out.at++] = 0x2d
  writePadded(month, 2, out)
  out.bytes[out.at++] = 0x2d
  writePadded(ofYear - (((153 * monthFromMarch + 2) / 5) | 0) + 1, 2, out)
}
