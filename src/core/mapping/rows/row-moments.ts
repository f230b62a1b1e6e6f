/** Canonical texts of days and moments as numbers and back (`canonical.ts`), proleptic Gregorian, UTC. */

/** Since 1970 UTC. */
export interface Moment {
  readonly milliseconds: bigint
  /** Below a millisecond, 0 to 999 999. */
  readonly nanoseconds: number
}

const DAY_MS = 86_400_000n
const MOMENT = /^(\d{4,7})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:\+00)?)?( BC)?$/

/** Stands for `infinity` and `-infinity`, of which numbers have none: the largest and smallest of 64 bits. */
export const FOREVER = 2n ** 63n - 1n
export const EVER = -(2n ** 63n)

/** The moment that a date (its midnight) or a timestamp tells; null for infinities and what is neither. */
export function parseMoment(text: string): Moment | null {
  const [, year, month, day, hours = '0', minutes = '0', seconds = '0', fraction = '', before] =
    MOMENT.exec(text) ?? []
  if (year === undefined) return null
  const days = daysFrom(before === undefined ? Number(year) : 1 - Number(year), Number(month), Number(day))
  const digits = fraction.padEnd(9, '0')
  const clock = (Number(hours) * 60 + Number(minutes)) * 60_000 + Number(seconds) * 1000
  return {
    milliseconds: BigInt(days) * DAY_MS + BigInt(clock + Number(digits.slice(0, 3))),
    nanoseconds: Number(digits.slice(3)),
  }
}

/** `2024-02-29 23:59:59.123`, in UTC, with the digits that are not zero at the end; ` BC` is not appended but told. */
export function formatMoment(milliseconds: bigint): {
  readonly day: string
  readonly clock: string
  readonly isBeforeChrist: boolean
} {
  const inDay = Number(((milliseconds % DAY_MS) + DAY_MS) % DAY_MS)
  const [year, month, day] = dayFrom(Number((milliseconds - BigInt(inDay)) / DAY_MS))
  const two = (value: number): string => String(value).padStart(2, '0')
  const seconds = Math.floor(inDay / 1000)
  const fraction = inDay % 1000
  const part = fraction === 0 ? '' : `.${String(fraction).padStart(3, '0').replace(/0+$/, '')}`
  const shownYear = year > 0 ? year : 1 - year
  return {
    day: `${String(shownYear).padStart(4, '0')}-${two(month)}-${two(day)}`,
    clock: `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}${part}`,
    isBeforeChrist: year <= 0,
  }
}

/** Days since 1970; the year 0 is 1 BC. Years are counted from March on, so that a leap day is the last of its year. */
function daysFrom(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year
  const era = Math.floor(shifted / 400)
  const ofEra = shifted - era * 400
  const ofYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1
  return era * 146_097 + ofEra * 365 + Math.floor(ofEra / 4) - Math.floor(ofEra / 100) + ofYear - 719_468
}

function dayFrom(days: number): readonly [year: number, month: number, day: number] {
  const shifted = days + 719_468
  const era = Math.floor(shifted / 146_097)
  const ofEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  )
  const ofYear = ofEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const shiftedMonth = Math.floor((5 * ofYear + 2) / 153)
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  return [year, month, ofYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1]
}
