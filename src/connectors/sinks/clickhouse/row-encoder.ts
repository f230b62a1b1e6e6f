import { type Arena, CellState } from '../../../core/packed-rows.ts'
import type { CellWriter } from './cells.ts'
import type { RowWriter } from './row-writer.ts'
import { byteWithoutValue, hasNullFlag, type TargetColumn } from './target-column.ts'

/**
 * Writes all cells of a complete image, whose first cell pair is at `first`. False when a cell is unchanged: then the
 * caller takes back what was written.
 */
export type RowEncoder = (cells: Int32Array, arena: Arena, first: number, out: RowWriter) => boolean

/** One straight function per table, or a loop where the process forbids making code from text. */
export function compileRow(columns: readonly TargetColumn[], writers: readonly CellWriter[]): RowEncoder {
  try {
    return unrolled(columns, writers)
  } catch (error) {
    if (error instanceof EvalError) return looped(columns, writers)
    throw error
  }
}

/** Every call has one target, which the engine can inline. The text holds numbers only, no names. */
export function unrolled(columns: readonly TargetColumn[], writers: readonly CellWriter[]): RowEncoder {
  const constants = writers.map((_, index) => `const write${index} = writers[${index}]`)
  const steps = columns.map((column, index) => {
    const flag = hasNullFlag(column) ? 'out.bytes[out.at++] = 0; ' : ''
    return `length = cells[first + ${index * 2 + 1}]
if (length >= 0) { ${flag}write${index}(arena, cells[first + ${index * 2}], length, out) }
else if (length === ${CellState.unchanged}) return false
else out.bytes[out.at++] = withoutValue(columns[${index}], length)`
  })
  const text = `${constants.join('\n')}
return function (cells, arena, first, out) {
let length = 0
${steps.join('\n')}
return true
}`
  // oxlint-disable-next-line typescript/no-implied-eval
  return new Function('writers', 'columns', 'withoutValue', text)(
    writers,
    columns,
    byteWithoutValue,
  ) as RowEncoder
}

export function looped(columns: readonly TargetColumn[], writers: readonly CellWriter[]): RowEncoder {
  const flags = columns.map(hasNullFlag)
  return (cells, arena, first, out) => {
    for (let index = 0; index < writers.length; index++) {
      const length = cells[first + index * 2 + 1]!
      if (length >= 0) {
        if (flags[index]) out.bytes[out.at++] = 0
        writers[index]!(arena, cells[first + index * 2]!, length, out)
      } else if (length === CellState.unchanged) return false
      else out.bytes[out.at++] = byteWithoutValue(columns[index]!, length)
    }
    return true
  }
}
