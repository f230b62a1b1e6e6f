/** Mappings for sources of documents, which know neither columns nor types nor keys of their own. */
import type { Column, TableSchema } from '../table.ts'
import { canonicalText } from './values/canonical-json.ts'
import { fingerprintOf } from './fingerprint.ts'
import type { ColumnRule, DocumentMapping, Path, TableMapping } from './mapping.ts'
import { type MappingInput, normalizeMapping } from './normalize.ts'
import type { NormalizedColumn, NormalizedMapping, NormalizedTable, PlacedMistake } from './normalized.ts'
import { readsUnwound } from './formats/stages.ts'

export interface CompileOptions {
  /** Of tables whose name has none in front. */
  readonly namespace: string
  readonly allowsBreaking?: boolean
}

export type CompiledMapping =
  | { readonly mapping: DocumentMapping; readonly mistakes: null }
  | { readonly mapping: null; readonly mistakes: readonly PlacedMistake[] }

type Wrong = (mistake: PlacedMistake) => void

/** Schema and mappings as they were parsed, compiled; or everything that is wrong with them. */
export function compileMapping(input: MappingInput, options: CompileOptions): CompiledMapping {
  const normalized = normalizeMapping(input)
  return normalized.mapping === null ? normalized : compileNormalized(normalized.mapping, options)
}

export function compileNormalized(
  { tables }: NormalizedMapping,
  { namespace, allowsBreaking = false }: CompileOptions,
): CompiledMapping {
  const mistakes: PlacedMistake[] = []
  const names = new Set<string>()
  const compiled = tables.flatMap((normalized) => {
    const own = { namespace: normalized.namespace ?? namespace, name: normalized.name }
    const full = `${own.namespace}.${own.name}`
    if (names.has(full))
      mistakes.push({ ...normalized.place, reason: `is table "${full}", which is there already` })
    names.add(full)
    return compileTable(normalized, own, (mistake) => mistakes.push(mistake)) ?? []
  })
  if (mistakes.length > 0) return { mapping: null, mistakes }
  return { mapping: { tables: compiled, allowsBreaking }, mistakes: null }
}

function compileTable(
  normalized: NormalizedTable,
  own: Pick<TableSchema, 'namespace' | 'name'>,
  wrong: Wrong,
): TableMapping | null {
  const { place, rest } = normalized
  if (rest !== null) {
    wrong({
      ...place,
      reason: 'needs `fields` with types, or a schema: documents do not say which columns there are',
    })
  }
  const ids = columnIds(normalized.columns)
  const columns = normalized.columns.flatMap((column, index): Column[] => {
    const { type, nullable, native, name } = column
    if (type !== null) return [{ id: ids[index]!, name, type, nullable: nullable ?? true, native }]
    wrong({
      ...column.place,
      reason: 'needs a type, as {path: ..., type: ...}: documents have none, and there is no schema',
    })
    return []
  })
  const key = keyOf(normalized, columns, wrong)
  if (key === null || rest !== null || columns.length < normalized.columns.length) return null
  const { collection, filter, unwind, elementFilter, rowsText } = normalized
  const fingerprints = normalized.columns.map(({ ruleText }, index) => [
    ids[index]!,
    fingerprintOf([ruleText, canonicalText({ ...columns[index]!.type })]),
  ])
  return {
    table: { ...own, columns, key, version: 0 },
    collection,
    columns: normalized.columns.map(({ rule }) => rule),
    filter,
    unwind,
    elementFilter,
    fingerprint: fingerprintOf(rowsText),
    columnFingerprints: Object.fromEntries(fingerprints) as Record<string, string>,
  }
}

function keyOf(
  { key, columns, unwind, place }: NormalizedTable,
  compiled: readonly Column[],
  wrong: Wrong,
): readonly number[] | null {
  if (key === null || key.length === 0) {
    wrong({ ...place, reason: 'needs a `key`: columns that identify a row' })
    return null
  }
  const inKey = key.flatMap((named) => {
    const column = columns.find(({ name }) => name === named.name)
    if (column === undefined) wrong({ ...named.place, reason: `is no column of the table` })
    return column === undefined ? [] : [{ column, named }]
  })
  for (const { column, named } of inKey) {
    if (column.nullable === true) wrong({ ...named.place, reason: `is in the key and may be NULL` })
  }
  for (const one of unwind) {
    const ofElement = inKey.filter(({ column }) =>
      rulePaths(column.rule).some((path) => readsUnwound(path, one)),
    )
    const array = one.path.join('.')
    if (ofElement.length === 0) {
      const reason = `has the same key for all elements of "${array}": put a column of the element, or of its index, into it`
      wrong({ ...place, reason })
    }
    const isNull = ofElement.some(({ column }) => column.rule.kind === 'path')
    if (one.keepsEmpty && isNull) {
      const reason = `keeps documents without elements of "${array}", whose key would be NULL: compute it, as with $ifNull`
      wrong({ ...place, reason })
    }
  }
  return key.map(({ name }) => compiled.findIndex((column) => column.name === name))
}

function rulePaths(rule: ColumnRule): readonly Path[] {
  return rule.kind === 'path' ? [rule.path] : rule.expression.paths
}

/**
 * The path, or `=` and the fingerprint of what is computed. Of columns that are the same, the first by name has it alone,
 * and the others have their name behind it.
 */
function columnIds(columns: readonly NormalizedColumn[]): readonly string[] {
  const plain = columns.map(({ rule, ruleText }) =>
    rule.kind === 'path' ? pathId(rule.path) : `=${fingerprintOf(ruleText)}`,
  )
  return plain.map((id, index) => {
    const same = columns.filter((_, other) => plain[other] === id).map(({ name }) => name)
    const { name } = columns[index]!
    return same.every((other) => name <= other) ? id : `${id}#${name}`
  })
}

function pathId(path: Path): string {
  return path.map((name) => name.replace(/[\\.#]|^=/g, '\\$&')).join('.')
}
