import { parse } from 'yaml'
import { describe, expect, it } from 'vitest'
import { fromExtendedJson } from '../../../../src/core/mapping/values/extended-json.ts'
import { OPERATORS } from '../../../../src/core/mapping/expression/expression-operators.ts'
import { FIELD_OPERATORS } from '../../../../src/core/mapping/query/query-operators.ts'
import { readFileSync } from 'node:fs'
import type { ObjectValue } from '../../../../src/core/mapping/value.ts'
import type { Json } from '../../../../src/core/position.ts'
import { blocksOf } from '../../../support/doc-blocks.ts'
import { compiled, type PlainRow, rowsOfValue } from './rows-of.ts'

interface Example {
  readonly schema?: Json
  readonly tables: Json
  readonly document: Json
  readonly rows: Readonly<Record<string, readonly PlainRow[]>>
}

const examples = blocksOf('docs/mapping.md')
  .filter(({ language, text }) => language === 'yaml' && text.includes('document:'))
  .map(({ text }) => parse(text) as Example)

describe('docs/mapping.md', () => {
  it.each(examples.map((example, index) => [index + 1, example] as const))(
    'has an example %i that holds',
    (_, example) => {
      const { tables } = compiled(example.schema, example.tables)
      const document = fromExtendedJson(example.document) as ObjectValue
      const rows = tables.map((table) => [table.table.name, rowsOfValue(table, document)] as const)
      expect(Object.fromEntries(rows.filter(([, all]) => all.length > 0))).toEqual(example.rows)
    },
  )

  it('has examples', () => {
    expect(examples.length).toBeGreaterThan(8)
  })

  it('names every operator', () => {
    const text = readFileSync('docs/mapping.md', 'utf8')
    const all = [...Object.keys(OPERATORS), ...Object.keys(FIELD_OPERATORS)]
    expect(all.filter((name) => !text.includes(`\`${name}\``))).toEqual([])
  })
})
