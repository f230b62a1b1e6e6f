import { describe, expect, it } from 'vitest'
import { withBlock } from '../../../scripts/marked-block.ts'
import { type Law, type LawSubject, verdicts } from '../../../src/testkit/law.ts'
import { scorecard, scorecardTable } from '../../../src/testkit/scorecard.ts'

interface Abilities {
  readonly deletes: boolean
}

const laws: readonly Law<Abilities, LawSubject<Abilities>>[] = [
  { id: 'order', title: 'keeps the order', check: async () => {} },
  { id: 'deletes', title: 'deletes rows', applies: ({ deletes }) => deletes, check: async () => {} },
]

const statuses = (subject: LawSubject<Abilities>): readonly string[] =>
  verdicts(laws, subject).map(({ law, status }) => `${law.id} ${status}`)

describe('the choice of laws', () => {
  it('requires what is declared', () => {
    expect(statuses({ capabilities: { deletes: true } })).toEqual(['order required', 'deletes required'])
    expect(statuses({ capabilities: { deletes: false } })).toEqual(['order required', 'deletes not-declared'])
  })

  it('waives a law for a written reason only', () => {
    const waived = { capabilities: { deletes: true }, waivers: { order: 'the server has no order at all' } }
    expect(statuses(waived)).toEqual(['order waived', 'deletes required'])
    const silent = { capabilities: { deletes: true }, waivers: { order: ' ' } }
    expect(() => verdicts(laws, silent)).toThrow('the waiver of law "order" has no written reason')
  })

  it('refuses a waiver that excuses nothing', () => {
    const reason = 'there is a good reason'
    expect(() => verdicts(laws, { capabilities: { deletes: false }, waivers: { deletes: reason } })).toThrow(
      'the waiver of "deletes" is for no law that would run',
    )
    expect(() => verdicts(laws, { capabilities: { deletes: true }, waivers: { oder: reason } })).toThrow(
      'the waiver of "oder" is for no law that would run',
    )
  })
})

describe('the scorecard', () => {
  it('says of each law whether it is kept, waived or not declared', () => {
    const subject = { capabilities: { deletes: false }, waivers: { order: 'the server has no order at all' } }
    expect(scorecardTable(scorecard(laws, subject)).split('\n').slice(2)).toEqual([
      '| `order` | keeps the order | waived: the server has no order at all |',
      '| `deletes` | deletes rows | not declared |',
    ])
    const [line] = scorecard(laws, { capabilities: { deletes: true } })
    expect(scorecardTable([line!])).toContain('| kept |')
    expect(scorecardTable([{ ...line!, status: 'failed' }])).toContain('| broken |')
  })

  it('stands between its markers in a README', () => {
    const text = 'a\n<!-- laws:begin -->\nold\n<!-- laws:end -->\nb'
    expect(withBlock(text, 'laws', 'new')).toBe('a\n<!-- laws:begin -->\nnew\n<!-- laws:end -->\nb')
    expect(withBlock('no markers', 'laws', 'new')).toBe(null)
  })
})
