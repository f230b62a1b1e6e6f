import { describe, expect, it } from 'vitest'
import { DocumentPacker } from '../../../src/connectors/sources/mongodb/packer/packer.ts'
import { ImageDiff } from '../../../src/connectors/sources/mongodb/packer/packer-diff.ts'
import { PackTarget } from '../../../src/connectors/sources/mongodb/packer/packer-target.ts'
import { Op } from '../../../src/core/packed-rows.ts'
import { seeded } from '../../support/random.ts'
import { mappingOf, unwind } from './mappings.ts'
import { bytesOf } from './random-documents.ts'
import { type TextRow, textRows } from './slow-rows.ts'

interface Item {
  readonly k: number
  readonly v: string
}

const mapping = mappingOf({
  columns: [
    { name: '_id', type: 'int32' },
    { name: 'items.k', type: 'int32' },
    { name: 'items.v', type: 'text' },
  ],
  key: ['_id', 'items.k'],
  unwind: [unwind('items')],
})
const packer = new DocumentPacker(mapping, { json: 'plain', misfits: 'stop' })
const difference = new ImageDiff(mapping)

interface Change {
  readonly op: 'insert' | 'update' | 'delete'
  readonly row: TextRow
  readonly old: TextRow | null
}

/** What the update of the document from the first items to the second ones is in the table. */
function changes(before: readonly Item[], after: readonly Item[], oldImages = false): readonly Change[] {
  const target = new PackTarget(0, 0, 0)
  const images = (items: readonly Item[]) => {
    const first = target.rows.cellCount
    return { first, count: packer.pack(bytesOf({ _id: 1, items }), 0, target) }
  }
  const [left, right] = [images(before), images(after)]
  difference.append(target, left, right, { table: 3, oldImages })
  const { rows } = target
  return Array.from({ length: rows.rowCount }, (_, row): Change => {
    expect(rows.tableOf[row]).toBe(3)
    const image = (first: number) => (first < 0 ? null : textRows(rows, first, 1, 3)[0]!)
    const [fresh, old] = [image(rows.newImage[row]!), image(rows.oldImage[row]!)]
    if (rows.op[row] === Op.delete) return { op: 'delete', row: old!, old: fresh }
    return { op: rows.op[row] === Op.insert ? 'insert' : 'update', row: fresh!, old }
  })
}

describe('the difference that an update of a document makes', () => {
  it('is nothing when nothing changed', () => {
    const items = [
      { k: 1, v: 'a' },
      { k: 2, v: 'b' },
    ]
    expect(changes(items, items)).toEqual([])
    expect(changes(items, items.toReversed())).toEqual([])
    expect(changes([], [])).toEqual([])
    expect(changes([items[0]!], [items[0]!])).toEqual([])
  })

  it('is an update where the key stayed, with the old row where it is asked for', () => {
    const update = { op: 'update', row: ['1', '1', 'b'] }
    expect(changes([{ k: 1, v: 'a' }], [{ k: 1, v: 'b' }])).toEqual([{ ...update, old: null }])
    expect(changes([{ k: 1, v: 'a' }], [{ k: 1, v: 'b' }], true)).toEqual([
      { ...update, old: ['1', '1', 'a'] },
    ])
    const more = [
      { k: 1, v: 'b' },
      { k: 2, v: 'x' },
    ]
    expect(
      changes(
        [
          { k: 1, v: 'a' },
          { k: 2, v: 'x' },
        ],
        more,
      ),
    ).toEqual([{ ...update, old: null }])
  })

  it('is a delete and an insert where the key changed', () => {
    expect(changes([{ k: 1, v: 'a' }], [{ k: 2, v: 'a' }])).toEqual([
      { op: 'delete', row: ['1', '1', 'a'], old: null },
      { op: 'insert', row: ['1', '2', 'a'], old: null },
    ])
  })

  it('is an insert from no row and a delete to none', () => {
    expect(changes([], [{ k: 1, v: 'a' }])).toEqual([{ op: 'insert', row: ['1', '1', 'a'], old: null }])
    expect(changes([{ k: 1, v: 'a' }], [])).toEqual([{ op: 'delete', row: ['1', '1', 'a'], old: null }])
  })

  it('is refused when two rows of one document have the same key, before or after', () => {
    const twice = [
      { k: 1, v: 'a' },
      { k: 1, v: 'b' },
    ]
    const refused = expect.objectContaining({
      code: 'mongodb/duplicate-key',
      message:
        'two rows of one document of collection "things" have the same key in shop.t ("_id", "items.k")',
    })
    expect(() => changes([], twice)).toThrow(refused)
    expect(() => changes(twice, [])).toThrow(refused)
    expect(() => changes(twice, twice)).toThrow(refused)
  })

  it('turns the rows before into the rows after, for random edits of the array, and says nothing else', () => {
    const random = seeded('differences')
    for (let round = 0; round < 600; round++) {
      const size = random.chance(0.05) ? 300 : random.below(8)
      const some = (): Item[] => {
        const keys = new Set(Array.from({ length: size }, () => random.below(size + 3)))
        return [...keys].map((k) => ({ k, v: 'v'.repeat(random.below(3)) }))
      }
      const [before, after] = [some(), some()]
      const table = new Map(before.map(({ k, v }) => [String(k), v]))
      const told = changes(before, after, true)
      for (const { op, row, old } of told) {
        const [, k, v] = row as [string, string, string]
        expect(table.has(k)).toBe(op !== 'insert')
        expect(op !== 'update' || (old![2] === table.get(k) && old![2] !== v)).toBe(true)
        if (op === 'delete') table.delete(k)
        else table.set(k, v)
      }
      expect(table).toEqual(new Map(after.map(({ k, v }) => [String(k), v])))
      const same = before.filter(({ k, v }) => after.some((other) => other.k === k && other.v === v))
      const kept = before.filter(({ k }) => after.some((other) => other.k === k))
      expect(told.length).toBe(before.length + after.length - kept.length - same.length)
    }
  })

  it('takes work in proportion to the rows', () => {
    const many = Array.from({ length: 100_000 }, (_, k) => ({ k, v: 'a' }))
    const moved = many.toReversed()
    moved[5] = { k: moved[5]!.k, v: 'b' }
    expect(changes(many, moved)).toEqual([{ op: 'update', row: ['1', '99994', 'b'], old: null }])
    // What one large document needed is no burden for the small ones that follow.
    expect(
      changes(
        [
          { k: 1, v: 'a' },
          { k: 2, v: 'a' },
        ],
        [{ k: 2, v: 'a' }],
      ),
    ).toHaveLength(1)
  })
})
