import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { UNCHANGED } from '../../src/core/canonical.ts'
import { PoisonRecordError, SchemaError } from '../../src/core/error.ts'
import type { SchemaOperation, TableSchema } from '../../src/core/table.ts'
import type { ValueRow } from '../../src/core/value-batch.ts'
import { type TestClickHouse, testClickHouse } from '../support/clickhouse.ts'
import {
  arrayOf,
  attempt,
  change,
  column,
  connected,
  decimal,
  int,
  store,
  table,
  text,
  timestamp,
  transaction,
} from './clickhouse-fixture.ts'

let server: TestClickHouse
beforeAll(async () => {
  server = await testClickHouse('schema')
})
afterAll(() => server[Symbol.asyncDispose]())

let names = 0
const fresh = () => `items${++names}`

const id = column('1', 'id', int(32))
const a = column('2', 'a', text)
const b = column('3', 'b', int(32))

const current = (name: string) => server.query(`SELECT * FROM ${name}__current ORDER BY 1`)
const types = async (name: string) =>
  Object.fromEntries(
    (
      await server.query<{ name: string; type: string }>(
        'SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {name:String}',
        { database: server.database, name },
      )
    ).map((row) => [row.name, row.type]),
  )

/** A step of a story: rows, or a change to another schema. */
type Step =
  | { readonly insert: readonly ValueRow[] }
  | { readonly to: TableSchema; readonly by: SchemaOperation }

/**
 * Plays a story and gives what the view shows. Then replays it from every step with the schema of that time, as after
 * a crash, and wants the same end: at a restart a source announces the older schema first. A copy is part of the
 * story where the source makes one.
 */
async function played(first: TableSchema, steps: readonly Step[], more: Record<string, unknown> = {}) {
  const run = async (schema: TableSchema, from: number, end: number) => {
    const sink = await connected(server.url, server.database, more)
    await sink.createTable(schema)
    let at = schema
    for (const [index, step] of steps.entries()) {
      if (index < from || index >= end) continue
      if ('to' in step) {
        await change(sink, at, step.to, step.by)
        at = step.to
      } else {
        await store(
          sink,
          transaction(1000 * (index + 1), (tx) => {
            for (const row of step.insert) tx.insert(at, row)
          }),
        )
      }
    }
    await sink.disconnect()
  }
  const schemas = [first]
  for (const step of steps) schemas.push('to' in step ? step.to : schemas.at(-1)!)
  await run(first, 0, steps.length)
  const result = await current(first.name)
  for (let from = 0; from < steps.length; from++) {
    // No position lies between changes that belong together.
    if (schemas[from]!.key.length === 0) continue
    await run(schemas[from]!, from, steps.length)
    expect(await current(first.name), `replayed from step ${from}`).toEqual(result)
  }
  // Once more, and the replay itself stops in the middle.
  await run(first, 0, Math.ceil(steps.length / 2))
  await run(first, 0, steps.length)
  expect(await current(first.name), 'replayed twice').toEqual(result)
  return result
}

describe('schema changes', () => {
  it('adds a column: older rows show NULL, or the constant default', async () => {
    const name = fresh()
    const c = column('4', 'c', int(64))
    const d = column('5', 'd', decimal(10, 2))
    const e = column('6', 'e', arrayOf(text))
    const one = table([id, a], { name })
    const two = table([id, a, c], { name })
    const three = table([id, a, c, d], { name })
    const four = table([id, a, c, d, e], { name })
    const result = await played(one, [
      { insert: [{ id: 1, a: 'x' }] },
      { to: two, by: { kind: 'add-column', column: c } },
      { insert: [{ id: 2, a: 'y', c: 9007199254740993n }] },
      { to: three, by: { kind: 'add-column', column: { ...d, addedDefault: '-12.30' } } },
      { insert: [{ id: 3, a: 'z', c: 3n, d: '0.01' }] },
      { to: four, by: { kind: 'add-column', column: { ...e, addedDefault: '{"it\'s",NULL}' } } },
      { insert: [{ id: 4, a: 'z', c: 3n, d: '0.01', e: [] }] },
    ])
    expect(result).toEqual([
      { id: 1, a: 'x', c: null, d: '-12.3', e: ["it's", null] },
      { id: 2, a: 'y', c: '9007199254740993', d: '-12.3', e: ["it's", null] },
      { id: 3, a: 'z', c: '3', d: '0.01', e: ["it's", null] },
      { id: 4, a: 'z', c: '3', d: '0.01', e: [] },
    ])
  })

  it('shows a constant default of every type in older rows', async () => {
    const schema = table([id], { name: fresh() })
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await store(
      sink,
      transaction(1, (tx) => tx.insert(schema, { id: 1 })),
    )
    const added = [
      ['bool', { kind: 'bool' }, 't'],
      ['u64', int(64, true), '18446744073709551615'],
      ['i8', int(8), '-128'],
      ['f64', { kind: 'float', bits: 64 }, '-0.1'],
      ['wide', decimal(76, 10), `-${'9'.repeat(66)}.0123456789`],
      ['text', text, `it's "\\" \n€`],
      ['enum', { kind: 'enum' }, 'new'],
      ['uuid', { kind: 'uuid' }, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380000'],
      ['json', { kind: 'json' }, '{"a": [1, "\'"]}'],
      ['bytes', { kind: 'bytes' }, '\\x4100ff27'],
      ['date', { kind: 'date' }, '1900-01-01'],
      ['ts', timestamp(6), '0001-01-01 00:00:00.000001+00'],
      ['time', { kind: 'time', digits: 6, zoned: false }, '24:00:00'],
    ] as const
    let before = schema
    for (const [index, [name, type, addedDefault]] of added.entries()) {
      const made = { ...column(String(index + 10), name, type), addedDefault }
      const after = { ...before, columns: [...before.columns, made] }
      await change(sink, before, after, { kind: 'add-column', column: made })
      before = after
    }
    const view = `${schema.name}__current`
    expect(await server.query(`SELECT * EXCEPT (bytes), hex(bytes) AS bytes FROM ${view}`)).toEqual([
      {
        id: 1,
        bool: true,
        u64: '18446744073709551615',
        i8: -128,
        f64: -0.1,
        wide: `-${'9'.repeat(66)}.0123456789`,
        text: `it's "\\" \n€`,
        enum: 'new',
        uuid: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380000',
        json: '{"a": [1, "\'"]}',
        bytes: '4100FF27',
        date: '1900-01-01',
        ts: '0001-01-01 00:00:00.000001',
        time: '24:00:00',
      },
    ])
    const tooEarly = { ...column('99', 'd', { kind: 'date' }), addedDefault: '1899-12-31' }
    const after = { ...before, columns: [...before.columns, tooEarly] }
    await expect(change(sink, before, after, { kind: 'add-column', column: tooEarly })).rejects.toMatchObject(
      {
        code: 'clickhouse/out-of-range',
      },
    )
    await sink.disconnect()
  })

  it('keeps a dropped column and its values; later rows show NULL there, and the view does not show it', async () => {
    const name = fresh()
    const two = table([id, b], { name })
    const result = await played(table([id, a, b], { name }), [
      { insert: [{ id: 1, a: 'x', b: 1 }] },
      { to: two, by: { kind: 'drop-column', column: a } },
      { insert: [{ id: 2, b: 2 }] },
    ])
    expect(result).toEqual([
      { id: 1, b: 1 },
      { id: 2, b: 2 },
    ])
    expect(await server.query(`SELECT id, a FROM ${name} FINAL ORDER BY id`)).toEqual([
      { id: 1, a: 'x' },
      { id: 2, a: null },
    ])
  })

  it('keeps the default that older rows show when the column is dropped', async () => {
    const name = fresh()
    const one = table([id], { name })
    const two = table([id, b], { name })
    const sink = await connected(server.url, server.database)
    await sink.createTable(one)
    await store(
      sink,
      transaction(1, (tx) => tx.insert(one, { id: 1 })),
    )
    await change(sink, one, two, { kind: 'add-column', column: { ...b, addedDefault: '7' } })
    await change(sink, two, one, { kind: 'drop-column', column: b })
    await store(
      sink,
      transaction(2, (tx) => tx.insert(one, { id: 2 })),
    )
    expect(await server.query(`SELECT id, b FROM ${name} FINAL ORDER BY id`)).toEqual([
      { id: 1, b: 7 },
      { id: 2, b: null },
    ])
    await sink.disconnect()
  })

  it('drops the column when the user says so', async () => {
    const name = fresh()
    await played(
      table([id, a, b], { name }),
      [
        { insert: [{ id: 1, a: 'x', b: 1 }] },
        { to: table([id, b], { name }), by: { kind: 'drop-column', column: a } },
        { insert: [{ id: 2, b: 2 }] },
      ],
      { dropColumns: 'drop' },
    )
    expect(Object.keys(await types(name))).toEqual(['id', 'b', '_version', '_deleted'])
  })

  it('takes a new column with the name of a dropped one for what it is', async () => {
    const name = fresh()
    const again = column('9', 'a', int(32), true)
    const result = await played(table([id, a], { name }), [
      { insert: [{ id: 1, a: 'old' }] },
      { to: table([id], { name }), by: { kind: 'drop-column', column: a } },
      { insert: [{ id: 2 }] },
      { to: table([id, again], { name }), by: { kind: 'add-column', column: again } },
      { insert: [{ id: 3, a: 33 }] },
    ])
    expect(result).toEqual([
      { id: 1, a: null },
      { id: 2, a: null },
      { id: 3, a: 33 },
    ])
    expect(await types(name)).toMatchObject({ a: 'Nullable(Int32)', a__2: 'Nullable(String)' })
  })

  it('renames a column, two that swap their names, and a key column', async () => {
    const name = fresh()
    const first = table([id, a, b], { name })
    const ab = { ...a, name: 'b2' }
    const swapped = [
      { ...a, name: 'b' },
      { ...b, name: 'a' },
    ] as const
    const key = { ...id, name: 'number' }
    const newId = column('8', 'id', text, true)
    const result = await played(first, [
      { insert: [{ id: 1, a: 'x', b: 1 }] },
      { to: table([id, ab, b], { name }), by: { kind: 'rename-column', from: a, to: ab } },
      { insert: [{ id: 2, b2: 'y', b: 2 }] },
      {
        to: table([id, swapped[0], { ...b, name: 'c' }], { name }),
        by: { kind: 'rename-column', from: ab, to: swapped[0] },
      },
      { to: table([id, ...swapped], { name }), by: { kind: 'rename-column', from: b, to: swapped[1] } },
      { insert: [{ id: 3, b: 'z', a: 3 }] },
      { to: table([key, ...swapped], { name }), by: { kind: 'rename-column', from: id, to: key } },
      { to: table([key, ...swapped, newId], { name }), by: { kind: 'add-column', column: newId } },
      { insert: [{ number: 4, b: 'w', a: 4, id: 'i' }] },
    ])
    expect(result).toEqual([
      { number: 1, b: 'x', a: 1, id: null },
      { number: 2, b: 'y', a: 2, id: null },
      { number: 3, b: 'z', a: 3, id: null },
      { number: 4, b: 'w', a: 4, id: 'i' },
    ])
    expect(await types(name)).toMatchObject({
      id: 'Int32',
      b: 'String',
      a: 'Int32',
      id__8: 'Nullable(String)',
    })
  })

  it('widens a type and lets NULL in, with the stored values kept', async () => {
    const name = fresh()
    const wide = { ...b, type: int(64) }
    const nullable = { ...wide, nullable: true }
    const asText = { ...nullable, type: text }
    const result = await played(table([id, b], { name }), [
      { insert: [{ id: 1, b: -1 }] },
      { to: table([id, wide], { name }), by: { kind: 'alter-column', from: b, to: wide } },
      { insert: [{ id: 2, b: 1n << 40n }] },
      { to: table([id, nullable], { name }), by: { kind: 'alter-column', from: wide, to: nullable } },
      { insert: [{ id: 3, b: null }] },
      { to: table([id, asText], { name }), by: { kind: 'alter-column', from: nullable, to: asText } },
      { insert: [{ id: 4, b: 'four' }] },
    ])
    expect(result).toEqual([
      { id: 1, b: '-1' },
      { id: 2, b: '1099511627776' },
      { id: 3, b: null },
      { id: 4, b: 'four' },
    ])
    expect(await types(name)).toMatchObject({ b: 'Nullable(String)' })
  })

  it('makes the column again when values cannot be converted; the source copies the table', async () => {
    const name = fresh()
    const number = { ...a, type: int(32) }
    const after = table([id, number], { name })
    const result = await played(table([id, a], { name }), [
      { insert: [{ id: 1, a: 'one' }] },
      { to: after, by: { kind: 'alter-column', from: a, to: number } },
      { to: after, by: { kind: 'truncate' } },
      { insert: [{ id: 1, a: 1 }] },
    ])
    expect(result).toEqual([{ id: 1, a: 1 }])
    expect(await types(name)).toMatchObject({ a: 'Nullable(Int32)' })
  })

  it('makes the table again for another key or another type of the key; the source copies the table', async () => {
    const name = fresh()
    const wideId = { ...id, type: int(64) }
    const wide = table([wideId, a, b], { name })
    const byA = table([wideId, a, b], { name, key: [1, 0] })
    const result = await played(table([id, a, b], { name }), [
      { insert: [{ id: 1, a: 'x', b: 1 }] },
      { to: wide, by: { kind: 'alter-column', from: id, to: wideId } },
      { to: wide, by: { kind: 'truncate' } },
      { insert: [{ id: 1n, a: 'x', b: 1 }] },
      { to: byA, by: { kind: 'change-key' } },
      { to: byA, by: { kind: 'truncate' } },
      {
        insert: [
          { id: 1n, a: 'x', b: 1 },
          { id: 1n, a: 'y', b: 2 },
        ],
      },
    ])
    expect(result).toEqual([
      { id: '1', a: 'x', b: 1 },
      { id: '1', a: 'y', b: 2 },
    ])
    expect(await types(name)).toMatchObject({ id: 'Int64', a: 'String' })
  })

  it('waits for the new key when the only key column is dropped; the source copies the table', async () => {
    const name = fresh()
    const keyless = table([a], { name, key: [] })
    const byA = table([a], { name })
    const result = await played(table([id, a], { name }), [
      { insert: [{ id: 1, a: 'x' }] },
      { to: keyless, by: { kind: 'drop-column', column: id } },
      { to: byA, by: { kind: 'change-key' } },
      { to: byA, by: { kind: 'truncate' } },
      { insert: [{ a: 'x' }] },
    ])
    expect(result).toEqual([{ a: 'x' }])
  })

  it('truncates', async () => {
    const schema = table([id, a], { name: fresh() })
    const result = await played(schema, [
      { insert: [{ id: 1, a: 'x' }] },
      { to: schema, by: { kind: 'truncate' } },
      { insert: [{ id: 2, a: 'y' }] },
    ])
    expect(result).toEqual([{ id: 2, a: 'y' }])
  })

  it('makes the table again at a truncate when the options of today give a column another type', async () => {
    const list = column('4', 'list', arrayOf(int(32)))
    const schema = table([id, list], { name: fresh() })
    const play = async (more: Record<string, unknown>) => {
      const sink = await connected(server.url, server.database, more)
      await sink.createTable(schema)
      await change(sink, schema, schema, { kind: 'truncate' })
      await store(
        sink,
        transaction(1, (tx) => tx.insert(schema, { id: 1, list: [1] })),
      )
      await sink.disconnect()
      return current(schema.name)
    }
    expect(await play({})).toEqual([{ id: 1, list: [1] }])
    expect(await play({ arrays: 'text' })).toEqual([{ id: 1, list: '{1}' }])
  })

  it('keeps an unchanged value over a rename and an added column', async () => {
    const schema = table([id, a], { name: fresh() })
    const renamed = { ...a, name: 'z' }
    const after = table([id, renamed, b], { name: schema.name })
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await store(
      sink,
      transaction(1, (tx) => tx.insert(schema, { id: 1, a: 'kept' })),
    )
    await change(sink, schema, after, { kind: 'rename-column', from: a, to: renamed })
    await store(
      sink,
      transaction(2, (tx) => tx.update(after, { id: 1, z: UNCHANGED, b: 5 })),
    )
    expect(await current(schema.name)).toEqual([{ id: 1, z: 'kept', b: 5 }])
    await sink.disconnect()
  })

  it('refuses NULL in an array column that was not nullable, instead of making it empty', async () => {
    const list = column('4', 'list', arrayOf(int(32)))
    const schema = table([id, list], { name: fresh() })
    const nullable = { ...list, nullable: true }
    const after = table([id, nullable], { name: schema.name })
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await change(sink, schema, after, { kind: 'alter-column', from: list, to: nullable })
    await store(
      sink,
      transaction(1, (tx) => tx.insert(after, { id: 1, list: [1, null] })),
    )
    const batch = transaction(2, (tx) => tx.insert(after, { id: 2, list: null }))
    await expect(sink.writeBatch(batch, attempt)).rejects.toBeInstanceOf(PoisonRecordError)
    await sink.disconnect()
  })
})

describe('tables that are not ours', () => {
  const code = (error: unknown) => {
    expect(error).toBeInstanceOf(SchemaError)
    return (error as SchemaError).code
  }
  const refusal = async (schema: TableSchema, more: Record<string, unknown> = {}, pipeline = 'test') => {
    const sink = await connected(server.url, server.database, more, pipeline)
    try {
      return await sink.createTable(schema).then(() => 'made', code)
    } finally {
      await sink.disconnect()
    }
  }

  it('leaves a table alone that it did not make, that is a view, or that belongs to something else', async () => {
    const mine = table([id, a], { name: fresh() })
    await server.command(`CREATE TABLE ${mine.name} (id Int32, a String) ENGINE = MergeTree ORDER BY id`)
    await server.command(`INSERT INTO ${mine.name} VALUES (1, 'theirs')`)
    expect(await refusal(mine)).toBe('clickhouse/foreign-table')
    expect(await server.query(`SELECT * FROM ${mine.name}`)).toEqual([{ id: 1, a: 'theirs' }])

    const view = table([id, a], { name: fresh() })
    await server.command(`CREATE VIEW ${view.name}__current AS SELECT 1`)
    expect(await refusal(view)).toBe('clickhouse/foreign-view')
    expect(await types(view.name)).toEqual({})

    const shared = table([id, a], { name: fresh() })
    expect(await refusal(shared)).toBe('made')
    expect(await refusal(shared)).toBe('made')
    expect(await refusal(shared, {}, 'another')).toBe('clickhouse/foreign-table')
    expect(await refusal({ ...shared, namespace: 'x' }, { defaultNamespace: 'x' })).toBe(
      'clickhouse/foreign-table',
    )
  })

  it('keeps source schemas apart, and refuses two tables that would be one', async () => {
    const name = fresh()
    const sink = await connected(server.url, server.database)
    await sink.createTable(table([id, a], { name }))
    await sink.createTable(table([id, a], { name, namespace: 'other' }))
    expect(await types(`other__${name}`)).toMatchObject({ a: 'String' })
    const collision = sink.createTable(table([id, a], { name: `other__${name}` }))
    await expect(collision).rejects.toMatchObject({ code: 'clickhouse/name-collision' })
    const view = sink.createTable(table([id, a], { name: `${name}__current` }))
    await expect(view).rejects.toMatchObject({ code: 'clickhouse/name-collision' })
    await sink.disconnect()
  })

  it('refuses a table without a key, and a name that is too long', async () => {
    expect(await refusal(table([id, a], { name: fresh(), key: [] }))).toBe('clickhouse/no-key')
    expect(await refusal(table([id, a], { name: '€'.repeat(30) }))).toBe('clickhouse/name-too-long')
  })

  it('takes columns with the names of its own two, hostile ones, and dotted arrays', async () => {
    const columns = [
      id,
      column('2', '_version', text),
      column('3', '_deleted', int(32), true),
      column('4', 'a`b\\c\'d"e; DROP TABLE x --', text),
      column('5', 'n.a', arrayOf(int(32))),
      column('6', 'n.b', arrayOf(int(32))),
      column('7', '名前', text),
      column('8', 't', text),
      column('9', 'x'.repeat(300), text),
    ]
    const schema = table(columns, { name: fresh() })
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    await sink.createTable(schema)
    const row: ValueRow = {
      id: 1,
      _version: 'v',
      _deleted: 1,
      [columns[3]!.name]: 'q',
      'n.a': [1],
      'n.b': [1, 2],
      名前: 'n',
      t: 't',
      ['x'.repeat(300)]: 'x',
    }
    await store(
      sink,
      transaction(1, (tx) => tx.insert(schema, row)),
    )
    await store(
      sink,
      transaction(2, (tx) => tx.update(schema, { ...row, t: UNCHANGED, 'n.b': UNCHANGED })),
    )
    expect(await current(schema.name)).toEqual([row])
    await sink.disconnect()
  })
})
