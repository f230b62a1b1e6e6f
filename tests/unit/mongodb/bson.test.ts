import { BSON } from 'mongodb'
import { describe, expect, it } from 'vitest'
import { BsonType, documentLast, eachElement } from '../../../src/connectors/sources/mongodb/bson/bson.ts'
import { CellArena } from '../../../src/connectors/sources/mongodb/bson/cell-arena.ts'
import { RawDocument } from '../../../src/connectors/sources/mongodb/bson/document.ts'
import { putJson } from '../../../src/connectors/sources/mongodb/bson/json.ts'
import { InternalError, PoisonRecordError } from '../../../src/core/error.ts'
import type { Arena } from '../../../src/core/packed-rows.ts'
import { seeded } from '../../support/random.ts'
import { bytesOf, randomDocument, rawDocument } from './random-documents.ts'

describe('the walk over a document', () => {
  const random = seeded('walk')

  it('meets every field that the driver reads, with its bytes', () => {
    for (let round = 0; round < 1000; round++) {
      const fields = randomDocument(random)
      const bytes = Buffer.concat([Buffer.alloc(3, 7), bytesOf(fields), Buffer.alloc(3, 7)]) as Arena
      const names: string[] = []
      eachElement(bytes, 3, bytes.length, (type, name, end, value, valueEnd) => {
        names.push(bytes.utf8Slice(name, end))
        const alone = BSON.deserialize(rawDocument(type, bytes.subarray(value, valueEnd)), exact)
        expect(alone).toEqual({ v: BSON.deserialize(bytesOf(fields), exact)[names.at(-1)!] })
      })
      expect(names).toEqual(Object.keys(fields))
    }
  })

  it('never leaves a broken document, and never goes on for ever', () => {
    for (let round = 0; round < 6000; round++) {
      const bytes = bytesOf(randomDocument(random))
      const count = 1 + random.below(3)
      for (let hit = 0; hit < count; hit++)
        bytes[random.below(bytes.length)] = random.pick([0, 1, 255, 127, random.below(256)])
      const cut = random.chance(0.3) ? bytes.subarray(0, random.below(bytes.length + 1)) : bytes
      // Walls of other bytes behind: what is read of them would show.
      for (const byte of [0xaa, 0]) {
        const walled = Buffer.concat([cut, Buffer.alloc(300, byte)]) as Arena
        for (const read of [readWhole, readJson]) {
          const inside = outcome(() => read(walled, cut.length))
          const alone = outcome(() => read(Buffer.from(cut) as Arena, cut.length))
          expect(inside).toEqual(alone)
        }
      }
    }
  })

  it('refuses what no document looks like', () => {
    const broken = [
      '',
      '0500',
      '04000000',
      '0600000000',
      '0500000001',
      'ffffffff00',
      '0700000010760000', // No end of the name.
      '08000000017600',
      '0c0000000276000000000000', // Text of no bytes.
      '0d000000027600010000006100', // Text without an end.
      '0d00000005760000000080000000', // Binary of a negative size.
      '080000002176000000', // Unknown type.
      '090000000b76006100', // Regular expression without an end.
      '0a0000000b7600610000', // Without options.
      '0d0000000376000400000000', // Document of four bytes.
    ]
    for (const hex of broken) {
      const bytes = Buffer.from(hex, 'hex') as Arena
      expect(() => readWhole(bytes, bytes.length), hex).toThrow(InternalError)
    }
  })

  it('refuses a document that is nested without end, before the stack is used up', () => {
    const deep = nested(5000)
    expect(() => readWhole(deep, deep.length)).toThrow(InternalError)
    expect(() => readJson(deep, deep.length)).toThrow(InternalError)
    const legal = nested(180)
    expect(readJson(legal, legal.length)).toContain('{"a":{"a":')
  })
})

const exact = { promoteValues: false, bsonRegExp: true, useBigInt64: false } as const

function nested(depth: number): Arena {
  const bytes = Buffer.alloc(5 + depth * 8)
  for (let level = 0; level <= depth; level++) {
    bytes.writeInt32LE(5 + (depth - level) * 8, level * 7)
    if (level < depth) bytes.set([BsonType.object, 0x61, 0], level * 7 + 4)
  }
  return bytes as Arena
}

function readWhole(bytes: Arena, limit: number): unknown {
  return new RawDocument().open(bytes, 0, limit).whole()
}

function readJson(bytes: Arena, limit: number): unknown {
  documentLast(bytes, 0, limit)
  const out = new CellArena(0)
  return putJson(out, bytes, BsonType.object, 0, limit, 'extended') && out.arena.utf8Slice(0, out.used)
}

function outcome(read: () => unknown): unknown {
  try {
    return read()
  } catch (error) {
    // Anything else is a bug: a RangeError, a TypeError of reading behind the end.
    if (error instanceof InternalError || error instanceof PoisonRecordError) return error.code
    throw error
  }
}
