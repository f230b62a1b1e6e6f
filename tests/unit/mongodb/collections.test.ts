import { describe, expect, it } from 'vitest'
import {
  mappedCollections,
  projectionOf,
  streamStages,
} from '../../../src/connectors/sources/mongodb/collections.ts'
import type { Json } from '../../../src/core/position.ts'
import { compileMapping } from '../../../src/core/mapping/compile.ts'
import { selectTables } from '../../../src/core/selection.ts'

const ID = { path: '_id', type: 'text' }

function collections(mappings: Json, patterns: readonly string[] = []) {
  const { mapping } = compileMapping({ schema: null, mappings }, { namespace: 'public' })
  return mappedCollections(mapping!, selectTables(patterns), 'shop')
}

function fieldsOf(table: Json): readonly string[] | null {
  return collections({ t: { collection: 'c', key: ['id'], ...(table as object) } as never })[0]!.fields
}

describe('what travels of a document', () => {
  it('is the _id and what is mapped, filtered and unwound', () => {
    const fields = fieldsOf({
      filter: { state: 'on' },
      unwind: 'items',
      fields: { id: ID, sku: { path: 'items.sku', type: 'text' }, name: { path: 'a.b.c', type: 'text?' } },
      key: ['id', 'sku'],
    })
    expect(fields).toEqual(['_id', 'a.b.c', 'items', 'state'])
  })

  it('is what expressions read', () => {
    const full = { expression: { $concat: ['$first', ' ', '$name.last'] }, type: 'text?' }
    expect(fieldsOf({ fields: { id: ID, full } })).toEqual(['_id', 'first', 'name.last'])
  })

  it('is the field around what a projection cannot name', () => {
    expect(fieldsOf({ fields: { id: ID, first: { path: 'list.0.x', type: 'text?' } } })).toEqual([
      '_id',
      'list',
    ])
  })

  it('is everything where everything is asked for', () => {
    const [whole] = collections({
      t: { collection: 'c', fields: { id: ID, all: { expression: '$$ROOT', type: 'json' } }, key: ['id'] },
    })
    expect(whole!.fields).toBeNull()
    expect(projectionOf(whole!)).toBeNull()
    expect(streamStages([whole!], { preImages: false, splits: false }).stages).toHaveLength(1)
  })
})

describe('the stages of the stream', () => {
  const two: Json = {
    a: { collection: 'a', fields: { id: ID, x: { path: 'x.y', type: 'text?' } }, key: ['id'] },
    b: { collection: 'other.b', fields: { id: ID, x: { path: 'x', type: 'json?' } }, key: ['id'] },
  }

  it('are those of one database, or of the cluster', () => {
    const one = streamStages(collections(two, ['public.a']), { preImages: false, splits: true })
    expect(one.database).toBe('shop')
    expect(one.stages).toEqual([
      {
        $match: {
          $or: [
            {
              operationType: {
                $in: ['insert', 'update', 'replace', 'delete', 'drop', 'rename', 'create', 'modify'],
              },
              $or: [{ 'ns.db': 'shop', 'ns.coll': { $in: ['a'] } }],
            },
            { operationType: 'rename', $or: [{ 'to.db': 'shop', 'to.coll': { $in: ['a'] } }] },
            { operationType: 'dropDatabase', 'ns.db': { $in: ['shop'] } },
            { operationType: 'invalidate' },
          ],
        },
      },
      {
        $project: {
          operationType: 1,
          clusterTime: 1,
          ns: 1,
          to: 1,
          documentKey: 1,
          lsid: 1,
          txnNumber: 1,
          'fullDocument._id': 1,
          'fullDocument.x.y': 1,
        },
      },
      { $changeStreamSplitLargeEvent: {} },
    ])
    expect(streamStages(collections(two), { preImages: false, splits: true }).database).toBeNull()
  })

  it('ask for no field and for one inside of it', () => {
    const { stages } = streamStages(collections(two), { preImages: true, splits: false })
    const fields = Object.keys(stages[1]!['$project'] as object).filter((name) => name.includes('.'))
    expect(fields).toEqual([
      'fullDocument._id',
      'fullDocument.x',
      'fullDocumentBeforeChange._id',
      'fullDocumentBeforeChange.x',
    ])
  })

  it('have another fingerprint when they are others', () => {
    const fingerprints = [
      streamStages(collections(two), { preImages: true, splits: false }),
      streamStages(collections(two), { preImages: false, splits: false }),
      streamStages(collections(two), { preImages: false, splits: true }),
      streamStages(collections(two, ['public.a']), { preImages: false, splits: true }),
    ].map(({ fingerprint }) => fingerprint)
    expect(new Set(fingerprints).size).toBe(4)
  })
})

describe('the need for pre-images', () => {
  it.each([
    [{ fields: { id: ID } }, null],
    [{ filter: { t: 1 }, fields: { id: ID } }, 'filter'],
    [{ unwind: 'i', fields: { id: ID, sku: { path: 'i.sku', type: 'text' } }, key: ['id', 'sku'] }, 'unwind'],
    [{ fields: { id: { path: 'email', type: 'text' } } }, 'key'],
    [{ fields: { id: { expression: { $toString: '$_id' }, type: 'text' } } }, null],
    [{ fields: { id: { path: '_id.tenant', type: 'text' } } }, null],
  ] as const)('of %j is %s', (table, reason) => {
    const [collection] = collections({ t: { collection: 'c', key: ['id'], ...table } as never })
    expect(collection!.needsPreImage?.reason ?? null).toBe(reason)
  })
})
