import { describe, expect, it } from 'vitest'
import type { CatalogTable } from '../../../src/connectors/sinks/clickhouse/catalog.ts'
import {
  foreignReason,
  literalSql,
  markerText,
  quoteName,
  quoteText,
  readMarker,
  targetName,
} from '../../../src/connectors/sinks/clickhouse/ddl.ts'
import { planTable, type PlanInput } from '../../../src/connectors/sinks/clickhouse/plan.ts'
import type { ColumnType } from '../../../src/core/column-type.ts'
import { SchemaError } from '../../../src/core/error.ts'
import type { Column, SchemaOperation, TableSchema } from '../../../src/core/table.ts'

const int32: ColumnType = { kind: 'int', bits: 32, unsigned: false }
const text: ColumnType = { kind: 'text' }
const column = (id: string, name: string, type: ColumnType = int32, nullable = false): Column => ({
  id,
  name,
  type,
  nullable,
  native: '',
})
const place = { database: 'd', meta: { version: '_version', deleted: '_deleted' } }
const marker = { pipeline: 'p', table: 'public.t' }

/** A table as the server describes it; columns as `name type comment`. */
function stored(
  columns: readonly (readonly [string, string, string])[],
  sortingKey: readonly string[],
): CatalogTable {
  const all = [...columns, ['_version', 'UInt64', ''], ['_deleted', 'UInt8', '']] as const
  return {
    name: 't',
    engine: 'ReplacingMergeTree',
    comment: markerText(marker),
    columns: all.map(([name, type, comment]) => ({ name, type, comment, defaultKind: '' })),
    sortingKey,
  }
}

function steps(
  columns: readonly Column[],
  table: CatalogTable | null,
  change: SchemaOperation | null = null,
  key = [0],
) {
  const schema: TableSchema = { namespace: 'public', name: 't', columns, key, version: 1 }
  const input: PlanInput = {
    place,
    options: { arrays: 'exact', dates: 'native', dropColumns: 'keep' },
    name: 't',
    marker,
    table,
    schema,
    change,
    fallback: () => "'x'",
  }
  const plan = planTable(input)
  return plan.steps.map(({ sql }) => sql.replace('ALTER TABLE `d`.`t` ', ''))
}

const id = column('1', 'id')
const a = column('2', 'a', text)
const table = stored(
  [
    ['id', 'Int32', 'sluice:1'],
    ['a', 'String', 'sluice:2'],
  ],
  ['id'],
)

describe('the statements that bring a table to a schema', () => {
  it('makes a table', () => {
    expect(steps([id, column('2', 'a', text, true)], null)).toEqual([
      `CREATE TABLE IF NOT EXISTS \`d\`.\`t\` (
  \`id\` Int32 COMMENT 'sluice:1',
  \`a\` Nullable(String) COMMENT 'sluice:2',
  \`_version\` UInt64,
  \`_deleted\` UInt8
) ENGINE = ReplacingMergeTree(\`_version\`, \`_deleted\`)
ORDER BY (\`id\`)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'sluice {"pipeline":"p","table":"public.t"}'`,
    ])
  })

  it('does nothing to a table that fits, or that is ahead of an older schema', () => {
    expect(steps([id, a], table)).toEqual([])
    expect(steps([id], table)).toEqual([])
    const wider = stored(
      [
        ['id', 'Int64', 'sluice:1'],
        ['a', 'Nullable(String)', 'sluice:2'],
      ],
      ['id'],
    )
    expect(steps([id, a], wider)).toEqual([])
  })

  it('adds what is missing, found by id and not by name', () => {
    const b = column('3', 'a')
    expect(steps([id, b], table)).toEqual([
      'RENAME COLUMN `a` TO `a__2`',
      "ADD COLUMN IF NOT EXISTS `a` Nullable(Int32) COMMENT 'sluice:3'",
    ])
    const change: SchemaOperation = { kind: 'add-column', column: { ...column('3', 'b'), addedDefault: '1' } }
    expect(steps([id, a, column('3', 'b')], table, change)).toEqual([
      "ADD COLUMN IF NOT EXISTS `b` Int32 DEFAULT 'x' COMMENT 'sluice:3'",
    ])
  })

  it('drops and makes again only what the source copies again', () => {
    const alter = (from: Column, to: Column) =>
      steps(
        [id, to],
        stored(
          [
            ['id', 'Int32', 'sluice:1'],
            ['a', 'Int32', 'sluice:2'],
          ],
          ['id'],
        ),
        { kind: 'alter-column', from, to },
      )
    const from = column('2', 'a', int32)
    expect(alter(from, { ...from, type: { kind: 'int', bits: 64, unsigned: false } })).toEqual([
      'MODIFY COLUMN `a` Int64',
    ])
    expect(alter(from, { ...from, nullable: true })).toEqual(['MODIFY COLUMN `a` Nullable(Int32)'])
    expect(alter(from, { ...from, type: text })).toEqual(['MODIFY COLUMN `a` String'])
    expect(alter(from, { ...from, type: { kind: 'bool' } })).toEqual([
      'DROP COLUMN `a`',
      "ADD COLUMN IF NOT EXISTS `a` Nullable(Bool) COMMENT 'sluice:2'",
    ])
    // A replay: the column has the type of a later change already.
    expect(
      alter(column('2', 'a', { kind: 'int', bits: 8, unsigned: false }), {
        ...from,
        type: { kind: 'int', bits: 16, unsigned: false },
      }),
    ).toEqual(['MODIFY COLUMN `a` Int16'])
    const asText = stored(
      [
        ['id', 'Int32', 'sluice:1'],
        ['a', 'String', 'sluice:2'],
      ],
      ['id'],
    )
    const wider = { ...from, type: { kind: 'int', bits: 64, unsigned: false } } as const
    expect(steps([id, wider], asText, { kind: 'alter-column', from, to: wider })).toEqual([])
  })

  it('makes the table again for another key only', () => {
    const made = steps([id, a], table, { kind: 'change-key' }, [1])
    expect(made).toEqual(['DROP TABLE IF EXISTS `d`.`t` SYNC', expect.stringContaining('ORDER BY (`a`)')])
    expect(steps([id, a], table, { kind: 'change-key' })).toEqual([])
    const keyless = stored([['a', 'String', 'sluice:2']], ['a'])
    expect(steps([a], keyless, { kind: 'drop-column', column: id }, [])).toEqual([])
    expect(() => steps([a], keyless, null, [])).toThrow(SchemaError)
  })

  it('leaves a type alone that somebody else made', () => {
    const other = stored(
      [
        ['id', 'Int32', 'sluice:1'],
        ['a', 'FixedString(3)', 'sluice:2'],
      ],
      ['id'],
    )
    expect(() => steps([id, a], other)).toThrow('FixedString(3)')
  })
})

describe('names and literals', () => {
  it('quotes everything', () => {
    expect(quoteName('a`b\\c')).toBe('`a\\`b\\\\c`')
    expect(quoteText("it's \\ \0")).toBe("'it\\'s \\\\ \\0'")
  })

  it('writes values as SQL', () => {
    expect(literalSql(int32, '-5', 'Nullable(Int32)')).toBe("CAST('-5' AS Nullable(Int32))")
    expect(literalSql({ kind: 'bool' }, 't', 'Bool')).toBe("CAST('true' AS Bool)")
    expect(literalSql({ kind: 'bytes' }, '\\x00ff', 'String')).toBe("CAST(unhex('00ff') AS String)")
    const at = "DateTime64(6, 'UTC')"
    expect(literalSql({ kind: 'timestamp', digits: 6, zoned: true }, '2020-01-01 00:00:00+00', at)).toBe(
      `CAST('2020-01-01 00:00:00' AS ${at})`,
    )
    expect(literalSql({ kind: 'timestamp', digits: 6, zoned: true }, 'infinity', 'String')).toBe(
      "CAST('infinity' AS String)",
    )
    const list: ColumnType = { kind: 'array', of: int32, dimensions: 2 }
    expect(literalSql(list, '{{1,NULL}}', 'Array(Array(Nullable(Int32)))')).toBe(
      "CAST([[CAST('1' AS Nullable(Int32)), NULL]] AS Array(Array(Nullable(Int32))))".replace(
        "CAST('1' AS Nullable(Int32))",
        "'1'",
      ),
    )
  })

  it('names targets by the source schema', () => {
    expect(targetName({ namespace: 'public', name: 't' }, 'public')).toBe('t')
    expect(targetName({ namespace: 'x', name: 't' }, 'public')).toBe('x__t')
  })

  it('knows its own tables', () => {
    expect(readMarker(markerText({ ...marker, truncated: '7' }))).toEqual({ ...marker, truncated: '7' })
    expect(readMarker('sluice {')).toBeNull()
    expect(readMarker('orders of the shop')).toBeNull()
    const source = { namespace: 'public', name: 't' }
    expect(foreignReason(table, place, 'p', source)).toBeNull()
    expect(foreignReason({ ...table, comment: '' }, place, 'p', source)).toContain('not made by Sluice')
    expect(foreignReason({ ...table, engine: 'SharedReplacingMergeTree' }, place, 'p', source)).toBeNull()
    expect(foreignReason({ ...table, engine: 'MergeTree' }, place, 'p', source)).toContain('MergeTree')
    expect(foreignReason(table, place, 'q', source)).toContain('pipeline "p"')
    expect(foreignReason(table, place, 'p', { ...source, name: 'u' })).toContain('public.t')
    const renamed = { ...place, meta: { version: 'v', deleted: 'd' } }
    expect(foreignReason(table, renamed, 'p', source)).toContain('no columns v and d')
  })
})
