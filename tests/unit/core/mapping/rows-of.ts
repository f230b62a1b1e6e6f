/** What a compiled mapping makes of plain documents, by nothing but what `mapping.ts` says of it. */
import { compileMapping } from '../../../../src/core/mapping/compile.ts'
import { documentOf } from '../../../../src/core/mapping/document.ts'
import type { DocumentMapping, Path, TableMapping } from '../../../../src/core/mapping/mapping.ts'
import { valueAt } from '../../../../src/core/mapping/path.ts'
import { unwound } from '../../../../src/core/mapping/unwind.ts'
import type { DocumentValue, LazyDocument, ObjectValue } from '../../../../src/core/mapping/value.ts'
import type { Json } from '../../../../src/core/position.ts'

export type Plain = null | boolean | number | string | readonly Plain[] | { readonly [key: string]: Plain }
export type PlainRow = Readonly<Record<string, Plain>>

export function compiled(schema: unknown, mappings: unknown): DocumentMapping {
  const { mapping, mistakes } = compileMapping(
    { schema: (schema ?? null) as Json, mappings: (mappings ?? null) as Json },
    { namespace: 'db' },
  )
  if (mapping === null) throw new Error(JSON.stringify(mistakes, null, 2))
  return mapping
}

/** Of the wrong ones: `document/path: reason`. */
export function mistakesOf(schema: unknown, mappings: unknown): readonly string[] {
  const { mistakes } = compileMapping(
    { schema: (schema ?? null) as Json, mappings: (mappings ?? null) as Json },
    { namespace: 'db' },
  )
  return (mistakes ?? []).map(({ document, path, reason }) => `${[document, ...path].join('/')}: ${reason}`)
}

/** By table; only tables that have rows. */
export function allRows(
  mapping: DocumentMapping,
  document: PlainRow,
): Readonly<Record<string, readonly PlainRow[]>> {
  const all = mapping.tables.map((table) => [table.table.name, rowsOf(table, document)] as const)
  return Object.fromEntries(all.filter(([, rows]) => rows.length > 0))
}

/** Everything of a document that is read to make its rows. */
export function readPaths({ columns, filter, unwind, elementFilter }: TableMapping): readonly Path[] {
  return [
    ...columns.flatMap((rule) => (rule.kind === 'path' ? [rule.path] : rule.expression.paths)),
    ...(filter?.paths ?? []),
    ...unwind.map(({ path }) => path),
    ...(elementFilter?.paths ?? []),
  ]
}

/** Cells that are missing are left out. */
export function rowsOf(mapping: TableMapping, plain: PlainRow): readonly PlainRow[] {
  return rowsOfValue(mapping, valueOf(plain) as ObjectValue)
}

export function rowsOfValue(mapping: TableMapping, value: ObjectValue): readonly PlainRow[] {
  let documents: readonly LazyDocument[] = [documentOf(value)]
  if (mapping.filter !== null && !mapping.filter.test(documents[0]!)) return []
  for (const unwind of mapping.unwind) documents = documents.flatMap((one) => unwound(one, unwind))
  const kept = documents.filter((one) => mapping.elementFilter?.test(one) ?? true)
  return kept.map((document) => {
    const cells = mapping.columns.map((rule, index) => {
      const value = rule.kind === 'path' ? valueAt(document, rule.path) : rule.expression.evaluate(document)
      return [mapping.table.columns[index]!.name, value === undefined ? undefined : plainOf(value)] as const
    })
    return Object.fromEntries(cells.filter(([, cell]) => cell !== undefined)) as PlainRow
  })
}

export function valueOf(plain: Plain): DocumentValue {
  if (plain === null) return { kind: 'null' }
  if (typeof plain === 'boolean') return { kind: 'bool', value: plain }
  if (typeof plain === 'number') return { kind: Number.isInteger(plain) ? 'int' : 'double', value: plain }
  if (typeof plain === 'string') return { kind: 'string', value: plain }
  if (Array.isArray(plain)) return { kind: 'array', value: plain.map(valueOf) }
  const entries = Object.entries(plain as PlainRow).map(([name, value]) => [name, valueOf(value)] as const)
  return { kind: 'object', value: new Map(entries) }
}

export function plainOf(value: DocumentValue): Plain {
  switch (value.kind) {
    case 'null':
      return null
    case 'array':
      return value.value.map(plainOf)
    case 'object':
      return Object.fromEntries([...value.value].map(([name, inner]) => [name, plainOf(inner)]))
    case 'long':
      return Number(value.value)
    case 'bool':
    case 'int':
    case 'double':
    case 'string':
    case 'decimal':
      return value.value
    default:
      throw new Error(`no plain value: ${value.kind}`)
  }
}
