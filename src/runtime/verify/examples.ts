import { CellState, type PackedRows } from '../../core/packed-rows.ts'
import { copyKey, noKeys, type RowReader } from '../../core/row-reader.ts'
import { RowView } from '../../core/row-view.ts'
import { type TableSchema, tableName } from '../../core/table.ts'
import type { Example } from './report.ts'
import { idOf, type RowHasher } from './row-hash.ts'
import type { Sides } from './sides.ts'
import type { TableResult } from './table-result.ts'

/** Differences of a table that are shown with their values. */
const MAX_EXAMPLES = 100
/** Characters of a value. */
const MAX_TEXT = 200

interface Texts {
  readonly texts: readonly (string | null)[]
  readonly hashes: Int32Array
}

/** Reads the first differences again, with their values: the only place where a comparison holds any. */
export async function examplesOf(result: TableResult, sides: Sides): Promise<readonly Example[]> {
  const count = Math.min(MAX_EXAMPLES, result.keys.rowCount)
  if (count === 0) return []
  return sides.use(async (snapshot) => {
    const table = snapshot.tables.find((one) => tableName(one) === result.name)
    if (table === undefined || (await sides.describe(table)).problems.length > 0) return []
    const hasher = await sides.hasher(table)
    const keys = noKeys()
    for (let row = 0; row < count; row++) copyKey(keys, table, result.keys, row)
    const source = await textsOf(snapshot, table, keys, hasher)
    const sink = await textsOf(sides.sink, table, keys, hasher)
    return Array.from({ length: count }, (_, row): Example => {
      const id = hasher.keyId(keys, row)
      return {
        kind: result.kinds[row]!,
        key: Object.fromEntries(
          table.key.map((index, at) => [table.columns[index]!.name, keyText(table, keys, row, at)]),
        ),
        columns: differing(table, source.get(id), sink.get(id)),
      }
    })
  })
}

async function textsOf(
  reader: RowReader,
  table: TableSchema,
  keys: PackedRows,
  hasher: RowHasher,
): Promise<ReadonlyMap<number, Texts>> {
  const found = new Map<number, Texts>()
  await reader.find(table, keys, (rows) => {
    for (let row = 0; row < rows.rowCount; row++) {
      const first = rows.newImage[row]!
      hasher.hash(rows, first)
      const view = new RowView(table, rows, first)
      const texts = table.columns.map(({ type }, index) =>
        view.state(index) === CellState.null ? null : textOf(type.kind === 'bytes', view.bytes(index)),
      )
      found.set(idOf(hasher.result), { texts, hashes: hasher.columns(rows, first) })
    }
  })
  return found
}

function differing(
  { columns }: TableSchema,
  source: Texts | undefined,
  sink: Texts | undefined,
): Example['columns'] {
  const all = columns.map(({ name }, index) => ({ name, index }))
  const chosen =
    source === undefined || sink === undefined
      ? all
      : all.filter(
          ({ index }) =>
            source.hashes[index * 2] !== sink.hashes[index * 2] ||
            source.hashes[index * 2 + 1] !== sink.hashes[index * 2 + 1],
        )
  return chosen.map(({ name, index }) => ({
    name,
    ...(source === undefined ? {} : { source: source.texts[index]! }),
    ...(sink === undefined ? {} : { sink: sink.texts[index]! }),
  }))
}

function keyText(table: TableSchema, keys: PackedRows, row: number, at: number): string | null {
  const cell = (keys.newImage[row]! + at) * 2
  const length = keys.cells[cell + 1]!
  if (length < 0) return null
  const start = keys.cells[cell]!
  const isBytes = table.columns[table.key[at]!]!.type.kind === 'bytes'
  return textOf(isBytes, keys.arena.subarray(start, start + length))
}

function textOf(isBytes: boolean, bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const text = isBytes ? `\\x${buffer.toString('hex', 0, MAX_TEXT)}` : buffer.toString('utf8')
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text
}
