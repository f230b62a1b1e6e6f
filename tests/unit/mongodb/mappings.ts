/** Small table mappings for tests of the packer. */
import type { ColumnRule, Path, TableMapping, Unwind } from '../../../src/core/mapping/mapping.ts'
import { type ColumnType, parseType } from '../../../src/core/column-type.ts'

export interface ColumnLine {
  readonly name: string
  /** A name of `parseType`. */
  readonly type: string
  /** Left out: the name as a path. */
  readonly rule?: ColumnRule
  readonly nullable?: boolean
}

export interface MappingLines {
  readonly columns: readonly ColumnLine[]
  /** Names of the key; the first column when left out. */
  readonly key?: readonly string[]
  readonly filter?: TableMapping['filter']
  readonly elementFilter?: TableMapping['elementFilter']
  readonly unwind?: readonly Unwind[]
}

export function mappingOf(lines: MappingLines): TableMapping {
  const names = lines.columns.map(({ name }) => name)
  return {
    table: {
      namespace: 'shop',
      name: 't',
      version: 0,
      key: (lines.key ?? [names[0]!]).map((name) => names.indexOf(name)),
      columns: lines.columns.map(({ name, type, nullable }) => ({
        id: name,
        name,
        type: typeOf(type),
        nullable: nullable ?? true,
        native: type,
      })),
    },
    collection: { namespace: null, name: 'things' },
    columns: lines.columns.map(({ name, rule }) => rule ?? { kind: 'path', path: name.split('.') }),
    filter: lines.filter ?? null,
    unwind: lines.unwind ?? [],
    elementFilter: lines.elementFilter ?? null,
    fingerprint: '',
    columnFingerprints: {},
  }
}

/** Types of the expectations besides those that have names. */
export function typeOf(name: string): ColumnType {
  if (name === 'other') return { kind: 'other', name }
  return parseType(name)!
}

export function unwind(path: string, options: { index?: string; keepsEmpty?: boolean } = {}): Unwind {
  return { path: path.split('.'), indexField: options.index ?? null, keepsEmpty: options.keepsEmpty ?? false }
}

export function pathRule(path: Path): ColumnRule {
  return { kind: 'path', path }
}
