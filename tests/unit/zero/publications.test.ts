import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { publicationProblems } from '../../../src/connectors/sinks/zero/publication-check.ts'
import { type PublicationDefinitions, Publications } from '../../../src/connectors/sinks/zero/publications.ts'
import { RecordWriter } from '../../../src/connectors/sinks/zero/record-writer.ts'
import type { Slot, TableVersion, VersionColumn } from '../../../src/connectors/sinks/zero/table-version.ts'
import type { Json } from '../../../src/core/position.ts'

type Encoding = VersionColumn['encoding']

const column = (name: string, encoding: Encoding = 'string', id = name): VersionColumn => {
  return { id, name, dataType: 'text', notNull: false, encoding }
}
const slot = (
  name: string,
  encoding: Encoding = 'string',
  id = name,
  missing: string | null = null,
): Slot => {
  return { ...column(name, encoding, id), missing }
}
const table = (
  source: string,
  slots: readonly (Slot | null)[],
  key = [column('id', 'integer')],
): TableVersion => {
  const [schema, name] = source.split('.') as [string, string]
  return { source, schema, name, key, slots }
}

const orders = table('public.orders', [
  slot('status', 'string', '2'),
  slot('total', 'decimal', '3'),
  slot('secret', 'string', '4'),
  slot('doc', 'json', '5'),
])
const people = table('public.people', [slot('name')])
const other = table('sales.things', [slot('a')])

function pack(cells: readonly (Json | undefined)[]): Uint8Array {
  const out = new RecordWriter()
  for (const cell of cells) out.cell(cell === null || cell === undefined ? null : JSON.stringify(cell))
  return out.take()
}

function defined(definitions: PublicationDefinitions, ...tables: readonly TableVersion[]): Publications {
  const publications = new Publications(definitions)
  for (const version of tables) publications.define(version)
  return publications
}

function mask(
  publications: Publications,
  version: TableVersion,
  cells: readonly Json[],
  key: Json[] = [1],
): number {
  return publications.masksOf(version)!.of(pack(key), pack(cells))
}

const messages = (definitions: PublicationDefinitions, ...tables: readonly TableVersion[]) => {
  return publicationProblems(definitions, tables).map(({ severity, message }) => `${severity} ${message}`)
}

describe('a publication', () => {
  it('shows the tables that its patterns select', () => {
    const publications = defined({ p: { tables: ['public.*', '!public.people'] } }, orders, people, other)
    expect(publications.of('p', orders)).toEqual({ slots: [0, 1, 2, 3], bits: null })
    expect(publications.of('p', people)).toBeNull()
    expect(publications.of('p', other)).toBeNull()
  })

  it('shows some columns, or all but some; the key goes without saying', () => {
    const publications = defined(
      {
        some: { tables: ['*'], columns: { 'public.orders': ['id', 'total', 'status'] } },
        rest: { tables: ['*'], columns: { 'public.orders': { exclude: ['secret'] } } },
      },
      orders,
      people,
    )
    expect(publications.of('some', orders)!.slots).toEqual([0, 1])
    expect(publications.of('rest', orders)!.slots).toEqual([0, 1, 3])
    expect(publications.of('rest', people)!.slots).toEqual([0])
  })

  it('filters rows by the values that Zero sees', () => {
    const publications = defined(
      {
        p: {
          tables: ['*'],
          rows: { 'public.orders': { id: { $gt: 1 }, total: { $gte: 2.5 }, status: { $ne: 'é"' } } },
        },
      },
      orders,
    )
    const { bits } = publications.of('p', orders)!
    expect(mask(publications, orders, ['open', 2.5, 'x', '{}'], [2])).toBe(bits)
    expect(mask(publications, orders, ['open', 2.4, 'x', '{}'], [2])).toBe(0)
    expect(mask(publications, orders, ['open', 2.5, 'x', '{}'], [1])).toBe(0)
    expect(mask(publications, orders, ['é"', 2.5, 'x', '{}'], [2])).toBe(0)
    expect(mask(publications, orders, [null, 2.5, 'x', '{}'], [2])).toBe(bits)
    expect(mask(publications, orders, ['open', null, 'x', '{}'], [2])).toBe(0)
  })

  it('takes the JSON null of a document for NULL, as Zero does', () => {
    const publications = defined({ p: { tables: ['*'], rows: { 'public.orders': { doc: null } } } }, orders)
    expect(mask(publications, orders, ['a', 1, 'b', ' null ']) > 0).toBe(true)
    expect(mask(publications, orders, ['a', 1, 'b', null]) > 0).toBe(true)
    expect(mask(publications, orders, ['a', 1, 'b', '{"a":null}'])).toBe(0)
  })

  it('gives rows that are older than a column what they show for it', () => {
    const grown = table('public.orders', [slot('status'), null, slot('region', 'string', 'region', '"eu"')])
    const publications = defined({ p: { tables: ['*'], rows: { 'public.orders': { region: 'eu' } } } }, grown)
    expect(mask(publications, grown, ['open', 5]) > 0).toBe(true)
    expect(mask(publications, grown, ['open', 5, 'us'])).toBe(0)
    expect(mask(publications, grown, ['open', 5, null])).toBe(0)
  })

  it('refuses to filter a row that is not whole', () => {
    const publications = defined({ p: { tables: ['*'], rows: { 'public.orders': { status: 'a' } } } }, orders)
    expect(() => publications.masksOf(orders)!.of(pack([1]), new Uint8Array([1]))).toThrow('not whole')
  })

  it('has no mask for tables without row filters', () => {
    const publications = defined(
      { p: { tables: ['*'], rows: { 'public.orders': { id: 1 } } } },
      orders,
      people,
    )
    expect(publications.masksOf(people)).toBeNull()
  })
})

describe('a subscriber of several publications', () => {
  const publications = defined(
    {
      open: {
        tables: ['public.orders'],
        columns: { 'public.orders': ['status'] },
        rows: { 'public.orders': { status: 'open' } },
      },
      big: {
        tables: ['public.*'],
        columns: { 'public.orders': ['total'] },
        rows: { 'public.orders': { total: { $gt: 100 } } },
      },
      all: { tables: ['public.orders'] },
      again: { tables: ['public.orders'], rows: { 'public.orders': { status: 'open' } } },
      things: { tables: ['sales.*'] },
    },
    orders,
    people,
    other,
  )

  it('sees tables and columns of any of them', () => {
    expect(publications.view(['open', 'big'], orders)!.slots).toEqual([0, 1])
    expect(publications.view(['open', 'big'], people)).toEqual({ slots: [0], bits: null })
    expect(publications.view(['open', 'big'], other)).toBeNull()
    expect(publications.view(['things', 'big'], other)).toEqual({ slots: [0], bits: null })
  })

  it('sees the rows that any of them shows', () => {
    const { bits } = publications.view(['open', 'big'], orders)!
    const sees = (cells: readonly Json[]) => (mask(publications, orders, cells) & bits!) !== 0
    expect(sees(['open', 1, '', ''])).toBe(true)
    expect(sees(['shut', 101, '', ''])).toBe(true)
    expect(sees(['shut', 1, '', ''])).toBe(false)
    expect(publications.view(['open', 'all'], orders)!.bits).toBeNull()
  })

  it('shares the bit of an equal filter', () => {
    expect(publications.filtersOf(orders)).toHaveLength(2)
    expect(publications.of('again', orders)!.bits).toBe(publications.of('open', orders)!.bits)
  })

  it('sees everything when it asks for none', () => {
    expect(publications.view([], other)).toEqual({ slots: [0], bits: null })
    expect(publications.refusal([], false)).toBeNull()
    expect(publications.refusal([], true)).toBe('no publication was asked for, and one is required here')
  })

  it('is refused names that are not there', () => {
    expect(publications.refusal(['open', 'big'], true)).toBeNull()
    expect(publications.refusal(['opne', 'open', 'zzzzzzzz', '__proto__'], false)).toBe(
      'there is no publication "opne", did you mean "open"?; there is no publication "zzzzzzzz"; there is no publication "__proto__"',
    )
  })
})

describe('a change of the schema', () => {
  const rules: PublicationDefinitions = {
    p: {
      tables: ['public.orders'],
      columns: { 'public.orders': { exclude: ['secret'] } },
      rows: { 'public.orders': { status: 'open' } },
    },
  }
  const [status, total, secret, doc] = orders.slots as readonly Slot[]

  it('leaves a renamed column hidden, and a filter on the column that it meant', () => {
    const publications = defined(rules, orders)
    const renamed = table('public.orders', [
      { ...status!, name: 'state' },
      total!,
      { ...secret!, name: 'harmless' },
      doc!,
    ])
    // Others take their names.
    const swapped = table('public.orders', [
      ...renamed.slots,
      slot('secret', 'string', '9'),
      slot('status', 'integer', '10'),
    ])
    publications.define(renamed)
    publications.define(swapped)
    expect(publications.of('p', swapped)!.slots).toEqual([0, 1, 3, 4, 5])
    expect(mask(publications, swapped, ['open', 1, '', '', '', 5])).toBe(1)
    expect(mask(publications, swapped, ['shut', 1, '', '', '', 5])).toBe(0)
    // Entries from before are shown by the same rules.
    expect(publications.of('p', orders)!.slots).toEqual([0, 1, 3])
  })

  it('follows a column by its slot where a rename changes its id', () => {
    const publications = defined(rules, orders)
    const renamed = table('public.orders', [slot('state'), total!, slot('harmless'), doc!])
    publications.define(renamed)
    publications.define(table('public.orders', [...renamed.slots, slot('secret', 'string', '4')]))
    const now = table('public.orders', [...renamed.slots, slot('secret', 'string', '4')])
    expect(publications.of('p', now)!.slots).toEqual([0, 1, 3, 4])
  })

  it('follows a column into a copy whose slots begin anew', () => {
    const publications = defined(rules, orders)
    const copied = table('public.orders', [secret!, doc!, status!])
    publications.define(copied)
    expect(publications.of('p', copied)!.slots).toEqual([1, 2])
    expect(mask(publications, copied, ['', '', 'open'])).toBe(1)
  })

  it('shows columns that are added, unless the publication lists them', () => {
    const listed = { p: { tables: ['*'], columns: { 'public.orders': ['total'] } } }
    const grown = table('public.orders', [...orders.slots, slot('new')])
    expect(defined(rules, orders, grown).of('p', grown)!.slots).toEqual([0, 1, 3, 4])
    expect(defined(listed, orders, grown).of('p', grown)!.slots).toEqual([1])
  })

  it('stops when a row filter asks for what is gone or has another type', () => {
    const without = table('public.orders', [null, total!, secret!, doc!])
    expect(() => defined(rules, orders, without)).toThrow(
      'publication "p" does not fit table public.orders: the row filter asks for column "status", which is gone',
    )
    const retyped = table('public.orders', [{ ...status!, encoding: 'integer' }, total!, secret!, doc!])
    expect(() => defined(rules, orders, retyped)).toThrow(
      'the row filter does not fit the new type of column "status"',
    )
  })

  it('stops when a hidden column becomes part of the key', () => {
    const keyed = table('public.orders', [status!, total!, null, doc!], [column('secret', 'string', '4')])
    expect(() => defined(rules, orders, keyed)).toThrow(
      'column "secret" cannot be hidden, it is part of the key',
    )
  })

  it('goes on without a column that is dropped and only named as hidden or shown', () => {
    const without = table('public.orders', [status!, null, null, doc!])
    expect(defined(rules, orders, without).of('p', without)!.slots).toEqual([0, 3])
    const listed = { p: { tables: ['*'], columns: { 'public.orders': ['total', 'doc'] } } }
    expect(defined(listed, orders, without).of('p', without)!.slots).toEqual([3])
  })

  it('reads the names anew for a table that was dropped and made again', () => {
    const again = table('public.orders', [slot('secret', 'string', '2'), slot('status', 'string', '3')])
    const publications = defined(rules, orders)
    publications.forget('public.orders')
    publications.define(again)
    expect(publications.of('p', again)!.slots).toEqual([1])
    expect(mask(publications, again, ['shut', 'open'])).toBe(1)
    publications.forget('public.orders')
    expect(() => publications.define(table('public.orders', [slot('a')]))).toThrow('unknown column')
  })
})

describe('the fingerprint of a publication', () => {
  const of = (definitions: PublicationDefinitions, ...tables: readonly TableVersion[]) => {
    return defined(definitions, ...tables).fingerprints()
  }
  const base: PublicationDefinitions = {
    p: {
      tables: ['public.*', '!public.people'],
      columns: { 'public.orders': ['status', 'total'] },
      rows: { 'public.orders': { status: 'open', total: { $gt: 1, $lt: 5 } } },
    },
  }

  it('stays when only the order of what is written changes, and when tables and columns come', () => {
    const reordered: PublicationDefinitions = {
      p: {
        rows: { 'public.orders': { total: { $lt: 5, $gt: 1 }, status: 'open' } },
        columns: { 'public.orders': ['total', 'status'] },
        tables: ['!public.people', 'public.*'],
      },
    }
    expect(of(reordered, orders)).toEqual(of(base, orders))
    const grown = table('public.orders', [...orders.slots, slot('new')])
    expect(of(base, orders, people, other, grown)).toEqual(of(base, orders))
    expect(of({ ...base, q: { tables: ['*'], rows: { 'public.orders': { id: 5 } } } }, orders)['p']).toBe(
      of(base, orders)['p'],
    )
  })

  it.each<[string, Partial<PublicationDefinitions[string]>]>([
    ['a table', { tables: ['public.*'] }],
    ['a column', { columns: { 'public.orders': ['status'] } }],
    ['the kind of a column rule', { columns: { 'public.orders': { exclude: ['status', 'total'] } } }],
    ['a value of a filter', { rows: { 'public.orders': { status: 'shut', total: { $gt: 1, $lt: 5 } } } }],
    ['no filter', { rows: {} }],
  ])('changes with %s', (_, changes) => {
    expect(of({ p: { ...base['p']!, ...changes } }, orders)).not.toEqual(of(base, orders))
  })

  it('changes when stored masks would be misread, or a name means another column', () => {
    const first: PublicationDefinitions = {
      q: { tables: ['*'], rows: { 'public.orders': { id: 5 } } },
      ...base,
    }
    expect(of(first, orders)['p']).not.toBe(of(base, orders)['p'])
    const [status, ...rest] = orders.slots as readonly Slot[]
    const renamed = table('public.orders', [
      { ...status!, name: 'old' },
      ...rest,
      slot('status', 'string', '9'),
    ])
    expect(of(base, renamed)).not.toEqual(of(base, orders))
  })
})

describe('the two threads', () => {
  it('make the same masks of the same definitions', () => {
    const definitions: PublicationDefinitions = {
      a: { tables: ['*'], rows: { 'public.orders': { status: { $in: ['open', null] } } } },
      b: { tables: ['*'], rows: { 'public.orders': { $or: [{ total: { $lt: 0 } }, { id: { $gte: 3 } }] } } },
    }
    const publications = defined(definitions, orders)
    const inWorker = new Publications(structuredClone(definitions)).masksOf(structuredClone(orders))!
    const rows = fc.tuple(
      fc.integer({ min: 0, max: 5 }),
      fc.option(fc.constantFrom('open', 'shut')),
      fc.option(fc.double({ noNaN: true, noDefaultInfinity: true })),
    )
    fc.assert(
      fc.property(rows, ([id, status, total]) => {
        const expected = (status !== 'shut' ? 1 : 0) | ((total !== null && total < 0) || id >= 3 ? 2 : 0)
        const key = pack([id])
        const cells = pack([status, total, 'x', null])
        expect(inWorker.of(key, cells)).toBe(expected)
        expect(publications.masksOf(orders)!.of(key, cells)).toBe(expected)
      }),
    )
    expect(publications.of('a', orders)!.bits).toBe(1)
    expect(publications.of('b', orders)!.bits).toBe(2)
  })
})

describe('the numbers of row filters', () => {
  const rows = (...ids: readonly number[]): PublicationDefinitions => {
    const entries = ids.map((id) => [`p${id}`, { tables: ['*'], rows: { 'public.orders': { id } } }] as const)
    return Object.fromEntries(entries)
  }

  it('stay with their filters, so that stored masks keep their meaning', () => {
    const before = defined(rows(1, 2, 3), orders)
    const after = new Publications(rows(4, 3, 5, 2), structuredClone(before.numbers))
    after.define(orders)
    for (const name of ['p2', 'p3']) expect(after.of(name, orders)).toEqual(before.of(name, orders))
    for (const name of ['p2', 'p3']) expect(after.fingerprints()[name]).toBe(before.fingerprints()[name])
    expect(after.of('p4', orders)!.bits).toBe(1)
    expect(after.of('p5', orders)!.bits).toBe(8)
    expect([...after.filtersOf(orders)].map(({ number }) => number)).toEqual([0, 1, 2, 3])
  })

  it('are used again, so that there are always enough', () => {
    let publications = new Publications({})
    for (let id = 0; id < 100; id++) publications = new Publications(rows(id, id + 1), publications.numbers)
    publications.define(orders)
    expect(mask(publications, orders, [], [99])).toBe(publications.of('p99', orders)!.bits)
    expect(new Set(Object.values(publications.numbers['public.orders']!))).toEqual(new Set([0, 1]))
  })
})

describe('the check of publications', () => {
  it('finds nothing wrong with what is right', () => {
    const definitions: PublicationDefinitions = {
      p: {
        tables: ['public.orders', 'sales.*'],
        columns: { 'public.orders': { exclude: ['secret'] }, 'sales.things': ['a'] },
        rows: { 'public.orders': { total: { $gt: 1 } } },
      },
    }
    expect(messages(definitions, orders, people, other)).toEqual([])
  })

  it('gives the complete list, with the nearest names', () => {
    const definitions: PublicationDefinitions = {
      empty: { tables: [] },
      p: {
        tables: ['public.ordrs', 'public.orders', 'nothing.*', '!sales.thing'],
        columns: {
          'public.orders': { exclude: ['id', 'secrte'] },
          'public.people': ['name'],
          'public.ordesr': ['a'],
        },
        rows: { 'public.orders': { totl: 1, status: { $gt: 5 } }, 'sales.things': {} },
      },
    }
    expect(messages(definitions, orders, people, other)).toEqual([
      'error publications.empty.tables: has no pattern; "*" stands for every table',
      'error publications.p.tables.0: unknown table, did you mean "public.orders"?',
      'warning publications.p.tables.2: fits no table',
      'warning publications.p.tables.3: fits no table',
      'error publications.p.columns.public.people: is not among the `tables` of the publication',
      'error publications.p.columns.public.ordesr: unknown table, did you mean "public.orders"?',
      'error publications.p.rows.sales.things: is not among the `tables` of the publication',
      'error publications.p.columns.public.orders.exclude.0: is a column of the key, which is always needed',
      'error publications.p.columns.public.orders.exclude.1: unknown column, did you mean "secret"?',
      'error publications.p.rows.public.orders.totl: unknown column, did you mean "total"?',
      'error publications.p.rows.public.orders.status.$gt: must be text',
    ])
  })

  it('counts the different row filters of a table', () => {
    const many = (count: number): PublicationDefinitions => {
      const entries = Array.from({ length: count }, (_, id) => {
        return [`p${id}`, { tables: ['*'], rows: { 'public.orders': { id } } }] as const
      })
      return Object.fromEntries(entries)
    }
    expect(messages(many(31), orders)).toEqual([])
    const publications = defined(many(31), orders)
    expect(mask(publications, orders, ['', 1, '', ''], [30])).toBe(2 ** 30)
    expect(messages(many(32), orders)).toEqual([
      'error table public.orders has more than 31 different row filters',
    ])
  })
})
