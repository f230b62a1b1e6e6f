import { isUtf8 } from 'node:buffer'
import type { Arena, PackedRows } from '../../../core/packed-rows.ts'
import { literalSql, quoteName, quoteText } from './ddl.ts'
import type { TargetColumn } from './target-column.ts'

/** A number with so many characters is the integer that it says, whatever the server makes of larger ones. */
const PLAIN_DIGITS = 18

/** SQL that is true for these keys, each as `keySql` gives it. */
export function keyFilter(key: readonly TargetColumn[], keys: Iterable<string>): string {
  const names = key.map(({ name }) => quoteName(name))
  return `${tuple(names)} IN (${[...keys].join(', ')})`
}

/** SQL of a key, whose cells are at these pairs; only for values that an encoder has accepted. */
export function keySql(key: readonly TargetColumn[], rows: PackedRows, cells: readonly number[]): string {
  return tuple(
    key.map((column, index) => {
      const cell = cells[index]!
      const start = rows.cells[cell]!
      return cellSql(column, rows.arena, start, start + rows.cells[cell + 1]!)
    }),
  )
}

/** Lists of plain constants are read many times as fast as lists of expressions. */
function cellSql({ source, type, physical }: TargetColumn, arena: Arena, start: number, end: number): string {
  // Text that somebody else wrote may be no UTF-8.
  if (source.type.kind === 'bytes' || !isUtf8(arena.subarray(start, end)))
    return literalSql({ kind: 'bytes' }, `\\x${arena.toString('hex', start, end)}`, type)
  const text = arena.utf8Slice(start, end)
  const kind = physical.kind === 'scalar' ? physical.scalar.kind : physical.kind
  if (kind === 'int' && text.length <= PLAIN_DIGITS) return text
  return kind === 'string' || kind === 'uuid' ? quoteText(text) : literalSql(source.type, text, type)
}

function tuple(parts: readonly string[]): string {
  return parts.length === 1 ? parts[0]! : `(${parts.join(', ')})`
}
