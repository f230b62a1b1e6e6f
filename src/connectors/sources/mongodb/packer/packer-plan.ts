/** A table mapping as a packer acts on it. */
import type { ColumnRule, Path, TableMapping, Unwind } from '../../../../core/mapping/mapping.ts'
import { type CellConverter, cellConverter } from '../bson/cell.ts'
import { type Field, PathNode } from './packer-paths.ts'

export interface Level {
  readonly unwind: Unwind
  readonly field: Field
  /** Columns whose value lies in the element. */
  readonly columns: readonly number[]
  /** Columns that show the number of the element. */
  readonly indexColumns: readonly number[]
  /** Levels whose arrays lie in the element. */
  readonly inside: readonly number[]
}

/** A column that is read from a decoded document. */
export interface SlowColumn {
  readonly column: number
  readonly rule: ColumnRule
}

export interface RowPlan {
  readonly converters: readonly CellConverter[]
  /** Wanted paths from the top of the document. */
  readonly root: PathNode
  /** Columns that take the whole document. */
  readonly whole: readonly number[]
  readonly slow: readonly SlowColumn[]
  /** Unwinds that the paths follow in one pass; null when rows are made from decoded documents one by one. */
  readonly levels: readonly Level[] | null
  /** Columns that must have a value. */
  readonly required: readonly number[]
  /** Place in the key by column, -1 for none. */
  readonly keySlots: Int32Array
  /** How the key is read from the document that names a changed document; null when it does not hold it. */
  readonly key: { readonly root: PathNode; readonly slow: readonly SlowColumn[] } | null
}

/** `documentKey`: top-level fields that the source says of every change: `_id` and those of the shard key. */
export function planOf(
  mapping: TableMapping,
  json: 'plain' | 'extended',
  documentKey: readonly string[],
): RowPlan {
  const { table, unwind } = mapping
  const isKey = new Set(table.key)
  const converters = table.columns.map(({ type }, column) => cellConverter(type, json, isKey.has(column)))
  const keySlots = new Int32Array(table.columns.length).fill(-1)
  table.key.forEach((column, slot) => (keySlots[column] = slot))
  const required = table.columns.flatMap(({ nullable }, column) =>
    nullable && !isKey.has(column) ? [] : [column],
  )
  const key = keyPlan(mapping, documentKey)
  const common = { converters, required, keySlots, key }
  if (!inOrder(unwind)) {
    const slow = mapping.columns.map((rule, column) => ({ column, rule }))
    return { ...common, root: new PathNode(0), whole: [], slow, levels: null }
  }
  const root = new PathNode(0)
  const whole: number[] = []
  const slow: SlowColumn[] = []
  const indexColumns = unwind.map((): number[] => [])
  mapping.columns.forEach((rule, column) => {
    if (rule.kind === 'expression' || unwind.some(({ path }) => isInside(path, rule.path))) {
      slow.push({ column, rule })
      return
    }
    if (rule.path.length === 0) {
      whole.push(column)
      return
    }
    const level = unwind.findLastIndex(({ indexField }) => indexField === rule.path[0])
    if (level < 0) root.add(rule.path, column)
    else if (rule.path.length === 1) indexColumns[level]!.push(column)
  })
  const levels = unwind.map((step, index) => {
    const field = root.add(step.path, -1)
    field.unwind = index
    field.single = -1
    return {
      unwind: step,
      field,
      columns: [...field.columns, ...(field.inside?.below ?? [])],
      indexColumns: indexColumns[index]!,
      inside: unwind.flatMap(({ path }, other) => (isInside(path, step.path) ? [other] : [])),
    }
  })
  return { ...common, root, whole, slow, levels }
}

/** Arrays of an unwind that follows lie beside those before or inside of their elements, and no name is taken twice. */
function inOrder(unwind: readonly Unwind[]): boolean {
  const indexFields = unwind.map(({ indexField }) => indexField)
  return unwind.every(({ path }, index) => {
    if (indexFields.includes(path[0]!)) return false
    return unwind.slice(0, index).every((before) => !startsWith(before.path, path))
  })
}

function keyPlan({ table, columns, unwind }: TableMapping, documentKey: readonly string[]): RowPlan['key'] {
  if (unwind.length > 0) return null
  const root = new PathNode(0)
  const slow: SlowColumn[] = []
  for (const column of table.key) {
    const rule = columns[column]!
    const paths = rule.kind === 'path' ? [rule.path] : rule.expression.paths
    if (!paths.every(([name]) => name !== undefined && documentKey.includes(name))) return null
    if (rule.kind === 'path') root.add(rule.path, column)
    else slow.push({ column, rule })
  }
  return { root, slow }
}

/** True when `path` leads on from `outer`. */
function isInside(path: Path, outer: Path): boolean {
  return path.length > outer.length && startsWith(path, outer)
}

function startsWith(path: Path, start: Path): boolean {
  return start.every((name, depth) => path[depth] === name)
}
