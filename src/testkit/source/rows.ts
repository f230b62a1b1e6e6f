/** Tables and values that the laws use. Every value can be told from anything else that a message may hold. */
import type { KitChange, KitColumn, KitRow, KitValue } from '../change.ts'
import type { Random } from '../random.ts'

/** Every text begins with this, long ones are full of it. */
const TEXT_MARK = 'kit-cell'
/** Every `bigint` of the kit begins with these digits, beyond 2^53. */
const NUMBER_MARK = '91573046'

/** What no message may hold. */
export const VALUE_MARKS: readonly string[] = [TEXT_MARK, NUMBER_MARK]

/** `id` is the key, `n` a small number that every change sets, `doc` is large enough to be stored apart. */
export const COLUMNS: readonly KitColumn[] = [
  { name: 'id', type: 'int' },
  { name: 'n', type: 'int' },
  { name: 'big', type: 'bigint' },
  { name: 'note', type: 'text' },
  { name: 'doc', type: 'large-text' },
]

export function createTable(table: string): KitChange {
  return { kind: 'create-table', table, columns: COLUMNS, key: ['id'] }
}

const TEXTS = [
  '',
  ' ünïcödé 漢字 🐘',
  ` 'single' "double" \`back\``,
  ' \\ \\N \\. \t tab \n line \r return',
  ',{NULL},[1]',
]

/** Some text that has been trouble before. */
export function text(random: Random): string {
  return TEXT_MARK + random.pick(TEXTS)
}

/** Marked text of about so many bytes, incompressible enough that no server stores it in line. */
export function largeText(random: Random, bytes = 4000): string {
  const parts: string[] = []
  for (let length = 0; length < bytes; length += 24)
    parts.push(`${TEXT_MARK}-${random.next().toString(36).padEnd(16, '0').slice(2, 16)}-`)
  return parts.join('')
}

export function bigNumber(random: Random): bigint {
  return BigInt(NUMBER_MARK + String(random.below(1e10)).padStart(10, '0'))
}

/** A complete row; `n` is given, the rest is random, NULL now and then. */
export function row(random: Random, id: number, n: number): KitRow {
  const or = (value: KitValue): KitValue => (random.chance(0.2) ? null : value)
  return { id, n, big: or(bigNumber(random)), note: or(text(random)), doc: or(largeText(random)) }
}

/** Inserts of rows `from` to below `to`, one change each. */
export function inserts(random: Random, table: string, from: number, to: number): readonly KitChange[] {
  return Array.from({ length: to - from }, (_, index) => ({
    kind: 'insert',
    table,
    row: row(random, from + index, from + index),
  }))
}

/** Inserts of rows with a `doc` of so many bytes. */
export function largeInserts(
  random: Random,
  table: string,
  from: number,
  count: number,
  bytes: number,
): readonly KitChange[] {
  const doc = largeText(random, bytes)
  return Array.from({ length: count }, (_, index) => ({
    kind: 'insert',
    table,
    row: { id: from + index, n: 0, big: null, note: null, doc: `${doc}${from + index}` },
  }))
}
