import { InternalError } from '../../../core/error.ts'
import { CellState } from '../../../core/packed-rows.ts'
import type { Column } from '../../../core/table.ts'
import { CellRefused } from './cells.ts'
import type { PhysicalType } from './types.ts'

/** A column of the target that the sink writes, in the order of the source schema. */
export interface TargetColumn {
  readonly source: Column
  /** Name on the server; may differ from the source's, see `plan.ts`. */
  readonly name: string
  /** Type text of `system.columns`, sent back to it word for word. */
  readonly type: string
  readonly physical: PhysicalType
  /** What NULL becomes: a NULL, the empty array (by the user's choice), or an error. */
  readonly onNull: 'null' | 'empty' | 'refuse'
}

/** Whether a present value has a flag byte before it. */
export function hasNullFlag({ physical }: TargetColumn): boolean {
  return physical.kind === 'scalar' && physical.nullable
}

/** The one byte that a cell without a value becomes. Throws `CellRefused` when it cannot become anything. */
export function byteWithoutValue({ physical, onNull }: TargetColumn, state: number): number {
  if (state === CellState.null) {
    if (onNull === 'refuse') throw nullRefused(physical)
    return onNull === 'null' ? 1 : 0
  }
  if (state === CellState.absent) {
    const fix = 'This is a bug of the source connector; please report it.'
    throw new CellRefused('absent-cell', 'is missing in the row', fix)
  }
  if (state === CellState.unchanged) {
    const fix = 'Let the source log complete old rows (Postgres: REPLICA IDENTITY FULL).'
    throw new CellRefused('unchanged-cell', 'is needed to find the stored row and was not in the log', fix)
  }
  throw new InternalError('clickhouse/cell-state', `unknown cell state ${state}`)
}

function nullRefused(type: PhysicalType): CellRefused {
  return type.kind === 'array'
    ? new CellRefused(
        'null-refused',
        'is a NULL array, which ClickHouse cannot tell from an empty one',
        "Set the sink's option `arrays` to `text` (keeps NULL) or `native` (makes it empty), and copy the table again.",
      )
    : new CellRefused(
        'null-refused',
        'is NULL although the target column cannot be',
        'Copy the table again; columns of the key must not be NULL.',
      )
}
