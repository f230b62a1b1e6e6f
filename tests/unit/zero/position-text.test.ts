import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PositionWriter, readPosition } from '../../../src/connectors/sinks/zero/position-text.ts'
import { InternalError } from '../../../src/core/error.ts'
import type { Json, SourcePosition } from '../../../src/core/position.ts'

const large = { tables: Array.from({ length: 30 }, (_, index) => `table ${index}`) }

function bodies(parts: readonly { id: number; body: string }[]): (id: number) => string | null {
  return (id) => parts.find((part) => part.id === id)?.body ?? null
}

describe('a position as text', () => {
  it('is the same position when it is read', () => {
    const json = fc.jsonValue() as fc.Arbitrary<Json>
    const resume = fc.oneof(json, fc.dictionary(fc.string(), fc.oneof(json, fc.constant(large as Json))))
    fc.assert(
      fc.property(fc.string(), resume, fc.boolean(), (order, value, partial) => {
        const position: SourcePosition = partial
          ? { order, resume: value, partial: true }
          : { order, resume: value }
        const written = new PositionWriter(1).write(position)
        // Through JSON, which knows no -0.
        expect(readPosition(written.text, bodies(written.parts))).toEqual(
          JSON.parse(JSON.stringify(position)),
        )
        expect(written).toMatchObject({ order, partial })
      }),
    )
  })

  it('refers to a large part by its number, and stays short while that part is the same', () => {
    const writer = new PositionWriter(7)
    const first = writer.write({ order: '1', resume: { lsn: '0/1', schemas: large } })
    const second = writer.write({ order: '2', resume: { lsn: '0/2', schemas: large } })
    expect(first.parts).toEqual([{ id: 7, body: JSON.stringify(large) }])
    expect(second.parts).toEqual(first.parts)
    expect(second.text.length).toBeLessThan(120)
    expect(second.text).not.toContain('table 1')
  })

  it('gives every other part another number, also an equal one: parts are told apart by identity', () => {
    const writer = new PositionWriter(1)
    const ids = [large, structuredClone(large), { ...large, more: 1 }].map(
      (schemas) => writer.write({ order: '1', resume: { schemas } }).parts[0]!.id,
    )
    expect(ids).toEqual([1, 2, 3])
  })

  it('keeps small parts where they are', () => {
    expect(
      new PositionWriter(1).write({ order: '1', resume: { lsn: '0/1', small: { a: 1 } } }).parts,
    ).toEqual([])
  })

  it('with a part that is missing is reported, not read as something else', () => {
    const { text } = new PositionWriter(1).write({ order: '1', resume: { schemas: large } })
    expect(() => readPosition(text, () => null)).toThrow(InternalError)
  })
})
