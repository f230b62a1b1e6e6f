/** Moments: milliseconds since 1970 UTC, from and to ISO 8601, and their parts in a time zone. */

const ISO =
  /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(?: ?(Z|[+-]\d\d(?::?\d\d)?))?)?$/i
const MINUTE = 60_000
/** Years 0 to 9999, what ISO 8601 has four digits for. */
const FIRST = -62_167_219_200_000n
const LAST = 253_402_300_799_999n

/** Parts of a moment as a clock and a calendar in a time zone show them. */
export interface Moment {
  readonly year: number
  /** 1 to 12. */
  readonly month: number
  readonly day: number
  readonly hour: number
  readonly minute: number
  readonly second: number
  readonly millisecond: number
  /** East of Greenwich, in minutes. */
  readonly offset: number
  /** 0 for Sunday. */
  readonly weekday: number
  /** 1 for the first of January. */
  readonly dayOfYear: number
}

/** `2018-03-20`, with a time (`T` or a space before it) and a zone (`Z`, `+05`, `+0530`, `+05:30`); null for all else. */
export function parseMoment(text: string): bigint | null {
  const match = ISO.exec(text)
  if (match === null) return null
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map((digits) => Number(digits ?? 0))
  const fraction = Number((match[7] ?? '').padEnd(3, '0').slice(0, 3))
  const utc = new Date(0)
  utc.setUTCFullYear(year!, month! - 1, day)
  const isDay = utc.getUTCMonth() === month! - 1 && utc.getUTCDate() === day
  if (!isDay || hour! > 23 || minute! > 59 || second! > 59) return null
  utc.setUTCHours(hour!, minute, second, fraction)
  const offset = match[8] === undefined ? 0 : parseOffset(match[8])
  return offset === null ? null : BigInt(utc.getTime() - offset * MINUTE)
}

/** `2018-03-20T12:00:00.000Z`; null outside the years 0 to 9999. */
export function isoText(milliseconds: bigint): string | null {
  return isCalendar(milliseconds) ? new Date(Number(milliseconds)).toISOString() : null
}

/** Null for a moment outside the years 0 to 9999. The zone is one that `isZone` accepts. */
export function momentIn(milliseconds: bigint, zone: string): Moment | null {
  if (!isCalendar(milliseconds)) return null
  const utc = Number(milliseconds)
  const offset = parseOffset(zone) ?? offsetIn(utc, zone)
  const local = new Date(utc + offset * MINUTE)
  const newYear = new Date(0).setUTCFullYear(local.getUTCFullYear(), 0, 1)
  return {
    year: local.getUTCFullYear(),
    month: local.getUTCMonth() + 1,
    day: local.getUTCDate(),
    hour: local.getUTCHours(),
    minute: local.getUTCMinutes(),
    second: local.getUTCSeconds(),
    millisecond: local.getUTCMilliseconds(),
    offset,
    weekday: local.getUTCDay(),
    dayOfYear: Math.floor((local.getTime() - newYear) / (24 * 60 * MINUTE)) + 1,
  }
}

/** `UTC`, an offset such as `+05:30`, or a name of the Olson database such as `Europe/Berlin`. */
export function isZone(zone: string): boolean {
  if (parseOffset(zone) !== null) return true
  // An offset in another form is something that only JavaScript knows.
  if (/^[+-]/.test(zone)) return false
  try {
    clock(zone)
    return true
  } catch {
    return false
  }
}

export function isUtc(zone: string): boolean {
  return parseOffset(zone) === 0
}

function isCalendar(milliseconds: bigint): boolean {
  return milliseconds >= FIRST && milliseconds <= LAST
}

/** Minutes east of Greenwich; null for a name. */
function parseOffset(zone: string): number | null {
  if (/^(Z|UTC|GMT)$/i.test(zone)) return 0
  const match = /^([+-])(\d\d)(?::?(\d\d))?$/.exec(zone)
  if (match === null) return null
  const minutes = Number(match[2]) * 60 + Number(match[3] ?? 0)
  return match[1] === '-' ? -minutes : minutes
}

const clocks = new Map<string, Intl.DateTimeFormat>()

function clock(zone: string): Intl.DateTimeFormat {
  let format = clocks.get(zone)
  if (format === undefined) {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      era: 'short',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    })
    clocks.set(zone, format)
  }
  return format
}

function offsetIn(utc: number, zone: string): number {
  const parts: Record<string, string> = {}
  for (const { type, value } of clock(zone).formatToParts(utc)) parts[type] = value
  const year = parts['era'] === 'BC' ? 1 - Number(parts['year']) : Number(parts['year'])
  const local = new Date(0)
  local.setUTCFullYear(year, Number(parts['month']) - 1, Number(parts['day']))
  local.setUTCHours(Number(parts['hour']), Number(parts['minute']), Number(parts['second']))
  return (local.getTime() - Math.floor(utc / 1000) * 1000) / MINUTE
}
