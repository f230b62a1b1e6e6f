import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Value, valueToBytes, valueToText } from '../../src/core/canonical.ts'
import { ClickHouseReader } from '../../src/connectors/sinks/clickhouse/reader.ts'
import { type ColumnType, describeType } from '../../src/core/column-type.ts'
import { CellState } from '../../src/core/packed-rows.ts'
import { WHOLE_TABLE } from '../../src/core/row-reader.ts'
import { RowView } from '../../src/core/row-view.ts'
import type { TableSchema } from '../../src/core/table.ts'
import { RowHasher } from '../../src/runtime/verify/row-hash.ts'
import { type TestClickHouse, testClickHouse } from '../support/clickhouse.ts'
import {
  arrayOf,
  attempt,
  column,
  connected,
  context,
  decimal,
  int,
  options,
  store,
  table,
  text,
  timestamp,
  transaction,
} from './clickhouse-fixture.ts'

let server: TestClickHouse
beforeAll(async () => {
  server = await testClickHouse('types')
})
afterAll(() => server[Symbol.asyncDispose]())

/** Any date that every option accepts, as days since 1970. */
const day = (min: string, max: string) =>
  fc
    .integer({ min: Date.parse(`${min}Z`) / 86_400_000, max: Date.parse(`${max}Z`) / 86_400_000 })
    .map((days) => new Date(days * 86_400_000).toISOString().slice(0, 10).replace(/^\+0*/, ''))
const pad = (value: number, digits = 2) => String(value).padStart(digits, '0')
const clock = fc
  .tuple(fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }), fc.integer({ min: 0, max: 59 }))
  .map(([h, m, s]) => `${pad(h)}:${pad(m)}:${pad(s)}`)
const fraction = (digits: number) =>
  digits === 0
    ? fc.constant('')
    : fc.integer({ min: 0, max: 10 ** digits - 1 }).map((n) => {
        const cut = pad(n, digits).replace(/0+$/, '')
        return cut === '' ? '' : `.${cut}`
      })
const moment = (digits: number, zone: string, min = '0001-01-01', max = '9999-12-31') =>
  fc.tuple(day(min, max), clock, fraction(digits)).map(([d, t, f]) => `${d} ${t}${f}${zone}`)
/** Up to so many digits. */
const digitsOf = (count: number) =>
  fc
    .integer({ min: 0, max: count })
    .chain((length) =>
      fc
        .bigInt({ min: 0n, max: 10n ** BigInt(length) })
        .map((value) => String(value).padStart(length, '0').slice(0, length)),
    )
const number = (precision: number, scale: number) =>
  fc.tuple(fc.boolean(), digitsOf(precision - scale), digitsOf(scale)).map(([negative, whole, part]) => {
    const integer = whole.replace(/^0+/, '') || '0'
    const padded = part.padEnd(scale, '0')
    const zero = integer === '0' && /^0*$/.test(padded)
    return `${negative && !zero ? '-' : ''}${integer}${scale === 0 ? '' : `.${padded}`}`
  })
const words = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }).filter((value) => value.isWellFormed()),
  fc.string({ maxLength: 300 }),
  fc.constantFrom('', 'NULL', '{', '"', '\\', '\0', "'", '\n'),
)
const big = (bits: number, unsigned: boolean) => {
  const [min, max] = unsigned
    ? [0n, (1n << BigInt(bits)) - 1n]
    : [-(1n << BigInt(bits - 1)), (1n << BigInt(bits - 1)) - 1n]
  // Of every length, since a length decides how digits are read.
  const short = fc
    .nat({ max: 63 })
    .chain((shift) => fc.bigInt({ min: min >> BigInt(shift), max: max >> BigInt(shift) }))
  return fc.oneof(fc.bigInt({ min, max }), short, fc.constantFrom(min, max, 0n, 1n))
}

interface Kind {
  readonly type: ColumnType
  readonly value: fc.Arbitrary<Value>
  /** Canonical text out of the column, in SQL. */
  readonly read: (name: string) => string
  /** What that gives for a canonical text, where ClickHouse shows the same value in another way. */
  readonly shown?: (canonical: string) => string
}

const asText = (name: string) => `toString(${name})`
const trimmed = (canonical: string) =>
  canonical.includes('.') ? canonical.replace(/0+$/, '').replace(/\.$/, '') : canonical
const full = (digits: number) => (canonical: string) => {
  const [seconds, part = ''] = canonical.replace(/\+00$/, '').split('.')
  return digits === 0 ? seconds! : `${seconds}.${part.padEnd(digits, '0')}`
}
const float = (bits: 32 | 64): Kind => ({
  type: { kind: 'float', bits },
  value: fc
    .oneof(bits === 32 ? fc.float() : fc.double(), fc.constantFrom(0, -0, 0.1, 1e15, 123456.789))
    .map((value) => (bits === 32 ? Math.fround(value) : value)),
  read: (name) => `if(isNaN(${name}), 'NaN', hex(reinterpretAsUInt${bits}(${name})))`,
  shown: (canonical) => {
    if (canonical === 'NaN') return 'NaN'
    const view = new DataView(new ArrayBuffer(8))
    if (bits === 32) view.setFloat32(0, Number(canonical))
    else view.setFloat64(0, Number(canonical))
    const value = bits === 32 ? BigInt(view.getUint32(0)) : view.getBigUint64(0)
    // hex() drops leading zero bytes.
    const digits = value.toString(16).toUpperCase()
    return digits.padStart(Math.max(2, digits.length + (digits.length % 2)), '0')
  },
})

const KINDS: readonly Kind[] = [
  ...([8, 16, 32, 64] as const).flatMap((bits) =>
    [false, true].map((unsigned): Kind => ({
      type: int(bits, unsigned),
      value: big(bits, unsigned).map((value) => (bits === 64 ? value : Number(value))),
      read: asText,
    })),
  ),
  float(32),
  float(64),
  ...(
    [
      [1, 0],
      [1, 1],
      [9, 2],
      [9, 9],
      [10, 0],
      [18, 6],
      [18, 18],
      [19, 3],
      [38, 10],
      [39, 0],
      [76, 38],
      [76, 76],
    ] as const
  ).map(([precision, scale]): Kind => ({
    type: decimal(precision, scale),
    value: number(precision, scale),
    read: asText,
    shown: trimmed,
  })),
  { type: { kind: 'decimal', precision: null, scale: null }, value: number(90, 30), read: asText },
  {
    type: { kind: 'decimal', precision: 5, scale: -2 },
    value: fc.constantFrom('1200', '-99900'),
    read: asText,
  },
  { type: { kind: 'bool' }, value: fc.boolean(), read: (name) => `left(toString(${name}), 1)` },
  ...(['text', 'json', 'enum', 'interval'] as const).map((kind): Kind => ({
    type: { kind },
    value: words,
    read: asText,
  })),
  { type: { kind: 'other', name: 'tsvector' }, value: words, read: asText },
  {
    type: { kind: 'bytes' },
    value: fc.uint8Array({ maxLength: 200 }),
    read: (name) => `'\\\\x' || lower(hex(${name}))`,
  },
  { type: { kind: 'uuid' }, value: fc.uuid(), read: asText },
  { type: { kind: 'date' }, value: day('1900-01-01', '2299-12-31'), read: asText },
  { type: { kind: 'time', digits: 6, zoned: false }, value: clock, read: asText },
  ...([0, 3, 6, 7] as const).map((digits): Kind => ({
    type: timestamp(digits, digits !== 6),
    value: moment(digits, digits === 6 ? '' : '+00'),
    read: asText,
    shown: full(digits),
  })),
  {
    type: timestamp(9),
    value: moment(9, '+00', '1677-09-22', '2262-04-10'),
    read: asText,
    shown: full(9),
  },
]

const element = (kind: Kind) => fc.option(kind.value, { nil: null })
const lists = (kind: Kind): Kind => {
  const show = kind.shown ?? ((canonical: string) => canonical)
  return {
    type: arrayOf(kind.type),
    value: fc.array(element(kind), { maxLength: 6 }) as fc.Arbitrary<Value>,
    // The elements one per line in hex, since they may hold anything.
    read: (name) =>
      `arrayStringConcat(arrayMap(x -> if(x IS NULL, 'NULL', hex(assumeNotNull(${kind.read('x')}))), ${name}), ',')`,
    shown: (canonical) =>
      (JSON.parse(canonical) as (string | null)[])
        .map((item) => (item === null ? 'NULL' : Buffer.from(show(item)).toString('hex').toUpperCase()))
        .join(','),
  }
}

const ALL: readonly Kind[] = [...KINDS, ...KINDS.filter(({ type }) => type.kind !== 'interval').map(lists)]

/** What the column's `read` has to give for a value. */
function shownText({ type, shown }: Kind, value: Value): string | null {
  if (value === null) return null
  const elements = (items: readonly Value[], of: ColumnType) =>
    JSON.stringify(items.map((item) => (item === null ? null : valueToText(of, item))))
  const canonical =
    type.kind === 'array' && Array.isArray(value) ? elements(value, type.of) : valueToText(type, value)
  return shown === undefined ? canonical : shown(canonical)
}

/** Every cell that a scan gives, by row and column. */
async function scanned(
  schema: TableSchema,
): Promise<readonly { readonly texts: readonly (string | null)[]; readonly hashes: Int32Array }[]> {
  await using reader = await ClickHouseReader.open(options(server.url, server.database), context())
  const hasher = new RowHasher(schema)
  const found: { texts: (string | null)[]; hashes: Int32Array }[] = []
  await reader.scan(schema, WHOLE_TABLE, (rows) => {
    for (let row = 0; row < rows.rowCount; row++) {
      const view = new RowView(schema, rows, rows.newImage[row]!)
      const texts = schema.columns.map((_, index) =>
        view.state(index) === CellState.null ? null : Buffer.from(view.bytes(index)).toString('latin1'),
      )
      found.push({ texts, hashes: hasher.columns(rows, rows.newImage[row]!) })
    }
  })
  return found
}

describe('types', () => {
  it('reads every value of every type back as it was written', { timeout: 120_000 }, async () => {
    const schema = table(
      [
        column('id', 'id', int(32)),
        ...ALL.map(({ type }, index) => column(`c${index}`, `c${index}`, type, type.kind !== 'array')),
      ],
      { name: 'readback' },
    )
    const sink = await connected(server.url, server.database)
    const row = fc.tuple(...ALL.map((kind) => (kind.type.kind === 'array' ? kind.value : element(kind))))
    const hasher = new RowHasher(schema)
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 20, maxLength: 20 }), async (rows) => {
        await sink.createTable(schema)
        const batch = transaction(1, (tx) => {
          for (const [index, values] of rows.entries())
            tx.insert(schema, {
              id: index,
              ...Object.fromEntries(values.map((value, i) => [`c${i}`, value])),
            })
        })
        await store(sink, batch)
        const found = await scanned(schema)
        const byId = new Map(found.map((one) => [one.texts[0], one]))
        expect(byId.size).toBe(rows.length)
        const differences = rows.flatMap((values, index) => {
          const wanted = hasher.columns(batch.rows!, batch.rows!.newImage[index]!)
          const got = byId.get(String(index))!
          return values.flatMap((value, at) => {
            const { type } = ALL[at]!
            const cell = (at + 1) * 2
            const isEqual = wanted[cell] === got.hashes[cell] && wanted[cell + 1] === got.hashes[cell + 1]
            // A float and an array have several texts; all others are the very same.
            const canonical =
              value === null ? null : Buffer.from(valueToBytes(type, value)).toString('latin1')
            const isSame = ['float', 'array'].includes(type.kind) || canonical === got.texts[at + 1]
            return isEqual && isSame ? [] : [{ type: describeType(type), canonical, got: got.texts[at + 1] }]
          })
        })
        expect(differences).toEqual([])
        await server.command(`TRUNCATE TABLE ${schema.name}`)
      }),
      { numRuns: 6, endOnFailure: true },
    )
    await sink.disconnect()
  })

  it('stores every value of every type exactly', { timeout: 120_000 }, async () => {
    const schema = table(
      [
        column('id', 'id', int(32)),
        ...ALL.map(({ type }, index) => column(`c${index}`, `c${index}`, type, type.kind !== 'array')),
      ],
      { name: 'everything' },
    )
    const sink = await connected(server.url, server.database)
    await sink.createTable(schema)
    const reads = ALL.map((kind, index) => `${kind.read(`c${index}`)} AS r${index}`).join(', ')
    const row = fc.tuple(...ALL.map((kind) => (kind.type.kind === 'array' ? kind.value : element(kind))))
    let version = 0
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 20, maxLength: 20 }), async (rows) => {
        const first = (version += 100)
        const batch = transaction(first, (tx) => {
          for (const [index, values] of rows.entries()) {
            tx.insert(schema, {
              id: first + index,
              ...Object.fromEntries(values.map((value, i) => [`c${i}`, value])),
            })
          }
        })
        await store(sink, batch)
        const stored = await server.query<Record<string, string | null>>(
          `SELECT ${reads} FROM ${schema.name} WHERE id >= {first:Int32} ORDER BY id`,
          { first },
        )
        const differences = rows.flatMap((values, row) =>
          values.flatMap((value, index) => {
            const { type } = ALL[index]!
            const wanted = shownText(ALL[index]!, value)
            const got = stored[row]![`r${index}`]
            return wanted === got ? [] : [{ type: describeType(type), wanted, got }]
          }),
        )
        expect(differences).toEqual([])
      }),
      { numRuns: 6, endOnFailure: true },
    )
    await sink.disconnect()
  })

  it('keeps text that is not wanted as a type: dates and arrays by option, nullable arrays always', async () => {
    const columns = [
      column('1', 'id', int(32)),
      column('2', 'd', { kind: 'date' }),
      column('3', 't', timestamp(6)),
      column('4', 'l', arrayOf(int(32)), true),
    ]
    const schema = table(columns, { name: 'astext' })
    const sink = await connected(server.url, server.database, { dates: 'text' })
    await sink.createTable(schema)
    const rows = [
      { id: 1, d: 'infinity', t: '0044-03-15 12:00:00+00 BC', l: null },
      { id: 2, d: '20000-01-01', t: '-infinity', l: [1, null] },
      { id: 3, d: '2020-02-29', t: '2020-02-29 00:00:00.5+00', l: [[1], [2]] },
    ]
    await store(
      sink,
      transaction(1, (tx) => rows.forEach((row) => tx.insert(schema, row))),
    )
    expect(await server.query('SELECT * FROM astext__current ORDER BY id')).toEqual([
      { ...rows[0] },
      { ...rows[1], l: '{1,NULL}' },
      { ...rows[2], l: '{{1},{2}}' },
    ])
    await sink.disconnect()
  })

  it('makes NULL arrays empty where the user chose that, and nested arrays nested', async () => {
    const columns = [column('1', 'id', int(32)), column('2', 'l', arrayOf(text, 2), true)]
    const schema = table(columns, { name: 'native' })
    const sink = await connected(server.url, server.database, { arrays: 'native' })
    await sink.createTable(schema)
    await store(
      sink,
      transaction(1, (tx) => {
        tx.insert(schema, { id: 1, l: null })
        tx.insert(schema, {
          id: 2,
          l: [
            ['a,"}', null],
            ['', 'NULL'],
          ],
        })
        tx.insert(schema, { id: 3, l: [] })
      }),
    )
    expect(await server.query('SELECT * FROM native__current ORDER BY id')).toEqual([
      { id: 1, l: [] },
      {
        id: 2,
        l: [
          ['a,"}', null],
          ['', 'NULL'],
        ],
      },
      { id: 3, l: [] },
    ])
    const flat = transaction(2, (tx) => tx.insert(schema, { id: 4, l: ['a'] }))
    await expect(sink.writeBatch(flat, attempt)).rejects.toMatchObject({ code: 'clickhouse/array-shape' })
    await sink.disconnect()
  })
})
