/** What becomes of entries of the log on their way to one kind of subscriber. */
import { v0 } from '@rocicorp/zero/change-protocol/v0'
import { describe, expect, it } from 'vitest'
import { Rewriter } from '../../../src/connectors/sinks/zero/apply-records.ts'
import { FrameBuffer } from '../../../src/connectors/sinks/zero/frame-buffer.ts'
import { EntryKind, type LogEvent } from '../../../src/connectors/sinks/zero/log-messages.ts'
import type { Entry } from '../../../src/connectors/sinks/zero/log-reader.ts'
import { type PublicationDefinitions, Publications } from '../../../src/connectors/sinks/zero/publications.ts'
import { RecordWriter } from '../../../src/connectors/sinks/zero/record-writer.ts'
import {
  PARTIAL,
  RecordOp,
  type Slot,
  type TableVersion,
  type VersionColumn,
} from '../../../src/connectors/sinks/zero/table-version.ts'
import { View, type ViewOptions } from '../../../src/connectors/sinks/zero/view.ts'
import { ZeroView } from '../../../src/connectors/sinks/zero/zero-view.ts'

type Cell = string | number | null | undefined

const column = (name: string, encoding: VersionColumn['encoding'] = 'string'): VersionColumn => ({
  id: name,
  name,
  dataType: encoding === 'integer' ? 'int4' : 'text',
  notNull: false,
  encoding,
})
const slot = (
  name: string,
  missing: string | null = null,
  encoding: VersionColumn['encoding'] = 'string',
): Slot => ({
  ...column(name, encoding),
  missing,
})
const orders: TableVersion = {
  source: 'public.orders',
  schema: 'public',
  name: 'orders',
  key: [column('id', 'integer'), column('shop')],
  slots: [slot('status'), null, slot('total', null, 'integer'), slot('secret')],
}
const later: TableVersion = { ...orders, slots: [...orders.slots, slot('city', '"Rome"')] }
const hidden: TableVersion = { ...orders, source: 'public.hidden', name: 'hidden' }
const VERSIONS: Readonly<Record<number, TableVersion>> = { 1: orders, 2: later, 3: hidden }
const DEFINITIONS: PublicationDefinitions = {
  open: {
    tables: ['public.orders'],
    columns: { 'public.orders': { exclude: ['secret'] } },
    rows: { 'public.orders': { status: 'open' } },
  },
  large: {
    tables: ['public.orders'],
    columns: { 'public.orders': ['total'] },
    rows: { 'public.orders': { total: { $gt: 9 } } },
  },
}
/** Bits of the masks, as the definitions get them. */
const OPEN = 1
const LARGE = 2

function viewOf(names: readonly string[], more: Partial<ViewOptions> = {}): View {
  const publications = new Publications(DEFINITIONS)
  for (const version of [orders, later, hidden]) publications.define(version)
  const options = {
    publications: names,
    extraColumns: () => [],
    isInternal: () => false,
    permissions: () => [],
    ...more,
  }
  return new View(options, publications, (id) => VERSIONS[id]!)
}

function cells(values: readonly Cell[]): Uint8Array {
  const out = new RecordWriter(64)
  for (const value of values) {
    if (value === undefined) {
      out.reserve(1)
      out.bytes[out.at++] = 1
    } else out.cell(value === null ? null : JSON.stringify(value))
  }
  return out.take()
}

interface Change {
  readonly op: RecordOp
  readonly version?: number
  readonly oldKey?: readonly Cell[]
  readonly key: readonly Cell[]
  readonly cells?: readonly Cell[]
  /** Row filters that hold before and after. */
  readonly masks?: readonly [number, number]
}

function rows(...changes: readonly Change[]): Entry {
  const out = new Rewriter()
  out.filtered = changes.some(({ masks }) => masks !== undefined)
  for (const { op, version = 1, oldKey, key, cells: after, masks = [0, 0] } of changes) {
    const record = new RecordWriter(64)
    record.reserve(8)
    record.bytes[record.at++] = after?.includes(undefined) ? op | PARTIAL : op
    record.varint(version)
    for (const part of [oldKey, key, after]) {
      if (part === undefined) continue
      const bytes = cells(part)
      record.reserve(8)
      record.varint(bytes.length)
      record.copy(bytes, 0, bytes.length)
    }
    const bytes = record.take()
    out.record(bytes, 0, bytes.length, masks[0], masks[1])
  }
  const { body, masks } = out.take()
  return { seq: 1, watermark: 1, kind: EntryKind.rows, time: null, body, masks }
}

function event(what: LogEvent): Entry {
  return {
    seq: 1,
    watermark: 1,
    kind: EntryKind.event,
    time: null,
    body: Buffer.from(JSON.stringify(what)),
    masks: null,
  }
}

/** The changes, each of which zero-cache knows. */
function shown(view: Pick<View, 'entry'>, entry: Entry): readonly unknown[] {
  const out = new FrameBuffer(16)
  view.entry(entry, out)
  return out.take().map((message) => {
    const parsed = JSON.parse(message.toString()) as readonly [string, unknown]
    v0.changeStreamMessageSchema.parse(parsed, { mode: 'strict' })
    return parsed[1]
  })
}

const relation = { schema: 'public', name: 'orders', rowKey: { columns: ['id', 'shop'] } }
const key = { id: 1, shop: 'a' }
const { insert, update, move, delete: remove } = RecordOp

describe('rows for one who sees everything', () => {
  const all = viewOf([])

  it('an insert has all columns, a dropped one not, an added one what older rows show', () => {
    expect(shown(all, rows({ op: insert, key: [1, 'a'], cells: ['open', null, 5, null] }))).toEqual([
      { tag: 'insert', relation, new: { ...key, status: 'open', total: 5, secret: null } },
    ])
    expect(shown(all, rows({ op: insert, version: 2, key: [1, 'a'], cells: ['open'] }))).toEqual([
      { tag: 'insert', relation, new: { ...key, status: 'open', total: null, secret: null, city: 'Rome' } },
    ])
  })

  it('an update leaves out what is unchanged', () => {
    expect(shown(all, rows({ op: update, key: [1, 'a'], cells: [undefined, null, 7, undefined] }))).toEqual([
      { tag: 'update', relation, key: null, new: { ...key, total: 7 } },
    ])
  })

  it('a move has the old key, a delete its key', () => {
    expect(
      shown(all, rows({ op: move, oldKey: [9, 'z'], key: [1, 'a'], cells: [undefined, null, 7, undefined] })),
    ).toEqual([{ tag: 'update', relation, key: { id: 9, shop: 'z' }, new: { ...key, total: 7 } }])
    expect(shown(all, rows({ op: remove, key: [1, 'a'] }))).toEqual([{ tag: 'delete', relation, key }])
  })

  it('come in order, several in one entry', () => {
    const entry = rows(
      { op: insert, key: [1, 'a'], cells: ['x', null, 1, 'y'] },
      { op: remove, key: [1, 'a'] },
      { op: insert, key: [1, 'a'], cells: ['z', null, 1, 'y'] },
    )
    expect(shown(all, entry).map((change) => (change as { tag: string }).tag)).toEqual([
      'insert',
      'delete',
      'insert',
    ])
  })

  it('any text arrives as it is', () => {
    const text = '"\\\n\u2028\u0000ß𝒳'
    expect(shown(all, rows({ op: insert, key: [1, text], cells: [text, null, 1, text] }))).toMatchObject([
      { new: { shop: text, status: text, secret: text } },
    ])
  })

  it('filters of publications that were not asked for do not count', () => {
    expect(
      shown(all, rows({ op: update, key: [1, 'a'], cells: ['paid', null, 1, 's'], masks: [OPEN, 0] })),
    ).toMatchObject([{ tag: 'update' }])
  })
})

describe('rows for one who asked for a publication', () => {
  const whole = ['x', null, 5, 'a secret'] as const
  const [open, both] = [viewOf(['open']), viewOf(['open', 'large'])]

  it.each([
    ['insert', 'of a row that is seen', insert, 0, OPEN, 'insert'],
    ['insert', 'of one that is not', insert, 0, LARGE, null],
    ['update', 'of a row that stays', update, OPEN, OPEN, 'update'],
    ['update', 'with which a row comes', update, LARGE, OPEN, 'insert'],
    ['update', 'with which a row goes', update, OPEN, LARGE, 'delete'],
    ['update', 'of one that is not seen', update, LARGE, LARGE, null],
    ['move', 'of a row that stays', move, OPEN, OPEN, 'update'],
    ['move', 'with which a row comes', move, 0, OPEN, 'insert'],
    ['move', 'with which a row goes', move, OPEN, 0, 'delete'],
    ['delete', 'of a row that was seen', remove, OPEN, 0, 'delete'],
    ['delete', 'of one that was not', remove, LARGE, 0, null],
  ] as const)('%s %s', (_op, _what, op, before, after, tag) => {
    const isMove = op === move
    const change: Change = {
      op,
      key: [1, 'a'],
      masks: [before, after],
      ...(isMove && { oldKey: [9, 'z'] }),
      ...(op !== remove && { cells: whole }),
    }
    const found = shown(open, rows(change))
    const oldKey = isMove ? { id: 9, shop: 'z' } : key
    const seen = { ...key, status: 'x', total: 5 }
    const expected = {
      insert: [{ tag: 'insert', relation, new: seen }],
      update: [{ tag: 'update', relation, key: isMove ? oldKey : null, new: seen }],
      delete: [{ tag: 'delete', relation, key: oldKey }],
      nothing: [],
    }
    expect(found).toEqual(expected[tag ?? 'nothing'])
    expect(JSON.stringify(found)).not.toContain('secret')
  })

  it('of several: the rows of any, the columns of all', () => {
    const seen = (before: number, after: number) =>
      (
        shown(both, rows({ op: update, key: [1, 'a'], cells: whole, masks: [before, after] })) as {
          tag: string
        }[]
      ).map(({ tag }) => tag)
    expect(seen(OPEN, LARGE)).toEqual(['update'])
    expect(seen(0, LARGE)).toEqual(['insert'])
    expect(seen(OPEN | LARGE, 0)).toEqual(['delete'])
  })

  it('nothing of another table, and nothing that has no masks', () => {
    expect(shown(open, rows({ op: insert, version: 3, key: [1, 'a'], cells: whole }))).toEqual([])
    expect(shown(open, rows({ op: insert, key: [1, 'a'], cells: whole }))).toEqual([])
  })
})

describe('events', () => {
  const [all, open, large] = [viewOf([]), viewOf(['open']), viewOf(['large'])]
  const tags = (view: View, what: LogEvent): unknown[] =>
    shown(view, event(what)).map((change) => (change as { tag: string }).tag)

  it('a table comes and goes with its index', () => {
    expect(tags(all, { kind: 'create-table', to: 1 })).toEqual(['create-table', 'create-index'])
    expect(tags(all, { kind: 'drop-table', from: 1 })).toEqual(['drop-index', 'drop-table'])
    expect(tags(all, { kind: 'truncate', from: 1 })).toEqual(['truncate'])
  })

  it('of tables that are not seen are nothing', () => {
    for (const what of [
      { kind: 'create-table', to: 3 },
      { kind: 'drop-table', from: 3 },
      { kind: 'truncate', from: 3 },
    ] as const)
      expect(tags(open, what)).toEqual([])
  })

  it('a table is made with the columns that are seen, at places that stay', () => {
    const [table] = shown(open, event({ kind: 'create-table', to: 2 })) as [
      { spec: { columns: Record<string, { pos: number }> } },
    ]
    expect(Object.entries(table.spec.columns).map(([name, { pos }]) => [name, pos])).toEqual([
      ['id', 1],
      ['shop', 2],
      ['status', 3],
      ['total', 5],
      ['city', 7],
    ])
  })

  it('an added column has its default, for those who see it', () => {
    const added = { kind: 'schema', from: 1, to: 2, steps: [{ kind: 'add-column', slot: 4 }] } as const
    expect(shown(all, event(added))).toMatchObject([
      { tag: 'add-column', column: { name: 'city', spec: { pos: 7, dflt: "'Rome'::text" } } },
    ])
    expect(tags(open, added)).toEqual(['add-column'])
    expect(tags(large, added)).toEqual([])
  })

  it('a dropped column goes, for those who saw it', () => {
    const dropped = {
      kind: 'schema',
      from: 1,
      to: 2,
      steps: [{ kind: 'drop-column', id: 'secret', name: 'secret' }],
    } as const
    expect(tags(all, dropped)).toEqual(['drop-column'])
    expect(tags(open, dropped)).toEqual([])
  })

  it('permissions become the one row of their table', () => {
    const publications = new Publications({})
    const view = new ZeroView({ appID: 'my_app', shardNum: 3 }, [], publications, (id) => VERSIONS[id]!)
    expect(shown(view, event({ kind: 'permissions', permissions: '{"tables":{}}', hash: 'abc' }))).toEqual([
      {
        tag: 'update',
        relation: { schema: 'my_app', name: 'permissions', rowKey: { columns: ['lock'] } },
        key: null,
        new: { lock: true, permissions: '{"tables":{}}', hash: 'abc' },
      },
    ])
  })
})

describe('the tables that zero-cache demands', () => {
  const view = new ZeroView(
    { appID: 'zero', shardNum: 0 },
    ['open'],
    new Publications(DEFINITIONS),
    (id) => VERSIONS[id]!,
  )
  const clients: TableVersion = {
    source: 'zero_0.clients',
    schema: 'zero_0',
    name: 'clients',
    key: [column('clientGroupID'), column('clientID')],
    slots: [slot('lastMutationID', null, 'integer')],
  }

  it('are made where the source has none, with one row of permissions', () => {
    const messages = view
      .missingTables([orders], null)
      .map(
        (text) => (JSON.parse(text) as [string, { tag: string; spec?: { name: string }; new?: unknown }])[1],
      )
    expect(messages.filter(({ tag }) => tag === 'create-table').map(({ spec }) => spec!.name)).toEqual([
      'clients',
      'mutations',
      'permissions',
    ])
    expect(messages.filter(({ tag }) => tag === 'insert').map((one) => one.new)).toEqual([
      { lock: true, permissions: null, hash: null },
    ])
  })

  it('are taken from the source where it has them, whatever the publication shows, with the columns that it lacks', () => {
    expect(view.missingTables([clients], null).some((text) => text.includes('"name":"clients"'))).toBe(false)
    const table = view.table(clients)!
    const [made] = view
      .create(table)
      .map((text) => (JSON.parse(text) as [string, { spec: { columns: object } }])[1])
    expect(Object.keys(made!.spec.columns)).toEqual(['clientGroupID', 'clientID', 'lastMutationID', 'userID'])
  })

  it('another table of the publication is not seen', () => {
    expect(view.table(hidden)).toBeNull()
  })
})
