/**
 * What a packer must give, told slowly: the document is decoded whole, rows are made one after the other from decoded
 * values, and every value is written as BSON again before it becomes a cell.
 */
import { BsonWriter } from '../../../src/connectors/sources/mongodb/bson/bson-writer.ts'
import { BsonType } from '../../../src/connectors/sources/mongodb/bson/bson.ts'
import { CellArena } from '../../../src/connectors/sources/mongodb/bson/cell-arena.ts'
import { cellConverter } from '../../../src/connectors/sources/mongodb/bson/cell.ts'
import { RawDocument } from '../../../src/connectors/sources/mongodb/bson/document.ts'
import { documentOf } from '../../../src/core/mapping/document.ts'
import type { TableMapping } from '../../../src/core/mapping/mapping.ts'
import { valueAt } from '../../../src/core/mapping/path.ts'
import { unwound } from '../../../src/core/mapping/unwind.ts'
import type { DocumentValue, LazyDocument } from '../../../src/core/mapping/value.ts'
import type { Arena, PackedRows } from '../../../src/core/packed-rows.ts'

/** Canonical text (hex for bytes) of each cell, null for NULL. */
export type TextRow = readonly (string | null)[]

export class Misfit extends Error {}

export function slowRows(mapping: TableMapping, bytes: Arena, misfits: 'stop' | 'null'): readonly TextRow[] {
  const document = documentOf(new RawDocument().open(bytes, 0, bytes.length).whole())
  if (mapping.filter !== null && !mapping.filter.test(document)) return []
  let documents: readonly LazyDocument[] = [document]
  for (const step of mapping.unwind) documents = documents.flatMap((inner) => unwound(inner, step))
  const { elementFilter } = mapping
  return documents
    .filter((inner) => elementFilter === null || elementFilter.test(inner))
    .map((inner) => slowRow(mapping, inner, misfits))
}

function slowRow(mapping: TableMapping, document: LazyDocument, misfits: 'stop' | 'null'): TextRow {
  const { table } = mapping
  return mapping.columns.map((rule, index) => {
    const isKey = table.key.includes(index)
    const { type, nullable } = table.columns[index]!
    const value =
      rule.kind === 'expression'
        ? rule.expression.evaluate(document)
        : rule.path.length === 0
          ? document.whole()
          : valueAt(document, rule.path)
    if (value !== undefined && value.kind !== 'null') {
      const text = slowCell(value, (out, from, bytesType, at, end) =>
        cellConverter(type, 'plain', isKey)(out, from, bytesType, at, end),
      )
      if (text !== null) return text
      if (misfits === 'stop') throw new Misfit()
    }
    if (isKey || !nullable) throw new Misfit()
    return null
  })
}

function slowCell(value: DocumentValue, convert: ReturnType<typeof cellConverter>): string | null {
  const writer = new BsonWriter()
  const type = writer.value(value)
  if (type === BsonType.null) return null
  const out = new CellArena(0)
  return convert(out, writer.bytes, type, 0, writer.used) ? out.arena.latin1Slice(0, out.used) : null
}

/** The images that a packer appended, in the same form. */
export function textRows(rows: PackedRows, first: number, count: number, width: number): readonly TextRow[] {
  return Array.from({ length: count }, (_, image) =>
    Array.from({ length: width }, (_unused, column) => textCell(rows, first + image * width + column)),
  )
}

export function textCell({ arena, cells }: PackedRows, cell: number): string | null {
  const length = cells[cell * 2 + 1]!
  if (length < -1) return `state ${length}`
  return length < 0 ? null : arena.latin1Slice(cells[cell * 2]!, cells[cell * 2]! + length)
}
