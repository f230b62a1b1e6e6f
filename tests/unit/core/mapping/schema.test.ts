import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createSchema, number, string, table } from '@rocicorp/zero'
import { describe, expect, it } from 'vitest'
import { describeType } from '../../../../src/core/column-type.ts'
import { Reading } from '../../../../src/core/mapping/formats/reading.ts'
import { readSchema } from '../../../../src/core/mapping/formats/schema-read.ts'
import type { MappingSchema } from '../../../../src/core/mapping/formats/schema.ts'
import type { Json } from '../../../../src/core/position.ts'

const folder = join(import.meta.dirname, 'fixtures/schemas')
const fixtures = readdirSync(folder)
  .filter((name) => name.endsWith('.json') && !name.endsWith('.expected.json'))
  .map((name) => name.replace('.json', ''))

const load = (name: string): Json => JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as Json

function read(json: Json): { readonly schema: MappingSchema; readonly mistakes: readonly string[] } {
  const reading = new Reading('schema')
  const schema = readSchema(json, reading)
  return { schema, mistakes: reading.mistakes.map(({ path, reason }) => `${path.join('/')}: ${reason}`) }
}

/** As a person would write the tables down. */
function written({ format, tables }: MappingSchema): Json {
  const all = tables.map((one) => {
    const columns = one.columns.map(({ name, type, nullable }) => [
      name,
      `${describeType(type)}${nullable ? '?' : ''}`,
    ])
    const name = one.namespace === null ? one.name : `${one.namespace}.${one.name}`
    return [name, { columns: Object.fromEntries(columns), key: one.key.map((column) => column.name) }]
  })
  return { format, tables: Object.fromEntries(all) as Json }
}

describe('schemas', () => {
  it.each(fixtures)('load in the format of %s.json', (name) => {
    const { schema, mistakes } = read(load(name))
    expect(mistakes).toEqual([])
    expect(written(schema)).toEqual(load(`${name}.expected`))
  })

  it('load from what createSchema of Zero returns', () => {
    const issue = table('issue')
      .from('issues')
      .columns({ id: string(), votes: number().optional().from('vote_count') })
      .primaryKey('id')
    const json = JSON.parse(JSON.stringify(createSchema({ tables: [issue], relationships: [] }))) as Json
    const { schema, mistakes } = read(json)
    expect(mistakes).toEqual([])
    expect(written(schema)).toEqual({
      format: 'zero',
      tables: { issues: { columns: { id: 'text', vote_count: 'float64?' }, key: ['id'] } },
    })
  })

  it('bring mappings along from the export of everything', () => {
    const combined = {
      schema: load('specs'),
      tableMappings: { version: 1, mappings: { users: { source: 'people' } }, metadata: {} },
      exportedAt: '2025-08-01T10:00:00.000Z',
    }
    const { schema, mistakes } = read(combined)
    expect(mistakes).toEqual([])
    expect(written(schema)).toEqual(load('specs.expected'))
    expect(schema.mappings).toEqual({ json: combined.tableMappings, path: ['tableMappings'] })
  })

  it('keep mappings that were written into serverName, and the name of the table', () => {
    const mapping = { source: 'rooms', filter: { t: 'd' } }
    const { schema, mistakes } = read({
      tables: {
        chats: {
          name: 'chats',
          columns: { _id: { type: 'string', optional: false, customType: null } },
          primaryKey: ['_id'],
          serverName: JSON.stringify(mapping),
        },
      },
      relationships: {},
    })
    expect(mistakes).toEqual([])
    expect(schema.tables[0]).toMatchObject({
      name: 'chats',
      mapping: { json: mapping, path: ['tables', 'chats', 'serverName'] },
    })
  })

  it.each<[string, Json, readonly string[]]>([
    ['no object', [], [': must be an object']],
    ['nothing in it', {}, [': has no table']],
    ['no table in it', { tables: {} }, ['tables: has no table']],
    ['tables that are none', { tables: 7 }, ['tables: must be an object']],
    [
      'an unknown type, with the nearest',
      { tables: { a: { columns: { id: 'int64', n: 'decmal(12,2)' }, key: ['id'] } } },
      [
        'tables/a/columns/n: is the unknown type "decmal(12,2)"; did you mean "decimal(12,2)"?; there are int8, uint8',
      ],
    ],
    [
      'no key',
      { message: { tableName: 'message', columns: { id: { type: 'string' } } } },
      ['message: must have a primaryKey: a list of columns that identify a row'],
    ],
    [
      'a key of no columns',
      { message: { columns: { id: { type: 'string' } }, primaryKey: ['ID'] } },
      ['message/primaryKey/0: must be a column of the table; did you mean "id"?'],
    ],
    [
      'a key twice',
      { message: { columns: { id: { type: 'string' } }, primaryKey: ['id', 'id'] } },
      ['message/primaryKey: names a column twice'],
    ],
    [
      'keys that may be NULL',
      {
        tables: {
          a: { columns: { id: 'int64?' }, key: ['id'] },
        },
      },
      ['tables/a/columns/id: is in the key and may be NULL'],
    ],
    [
      'unknown fields',
      {
        message: {
          columns: { id: { type: 'string', notnull: true } },
          primaryKeys: ['id'],
          primaryKey: ['id'],
        },
      },
      [
        'message/primaryKeys: is unknown here; did you mean "primaryKey"?; there are tableName, columns, primaryKey, relationships',
        'message/columns/id/notnull: is unknown here',
      ],
    ],
    [
      'two columns of one name',
      {
        tables: {
          a: {
            name: 'a',
            columns: { id: { type: 'string' }, other: { type: 'number', serverName: 'id' } },
            primaryKey: ['id'],
          },
        },
      },
      ['tables/a/columns/other: is called "id", as another column is'],
    ],
    [
      'two tables of one name',
      {
        tables: {
          a: { name: 'a', serverName: 'x', columns: { id: { type: 'string' } }, primaryKey: ['id'] },
          b: { name: 'b', serverName: 'x', columns: { id: { type: 'string' } }, primaryKey: ['id'] },
        },
      },
      ['tables/b: is called "x", as another table is'],
    ],
    [
      'an unknown type of Postgres',
      { tables: [{ name: 'a', columns: { id: { dataType: 'txt' } }, primaryKey: ['id'] }] },
      [
        'tables/0/columns/id/dataType: is the unknown type "txt"; did you mean "text"?',
        'tables/0/primaryKey/0: must be',
      ],
    ],
  ])('are refused with %s', (_, json, expected) => {
    const { mistakes } = read(json)
    expect(mistakes.length).toBe(expected.length)
    for (const [index, start] of expected.entries()) expect(mistakes[index]).toContain(start)
  })
})
