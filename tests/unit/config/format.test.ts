import { describe, expect, it } from 'vitest'
import { InvalidConfigError } from '../../../src/runtime/config/format.ts'

const file = { shown: 'shop.yaml', locate: () => null }
const mapping = {
  document: { shown: 'tables.json', locate: () => null },
  mistakes: [{ path: ['a'], reason: 'is wrong' }],
}
const option = { path: ['buffer'], reason: 'is wrong' }
const inline = { path: ['mapping', 'tables', 'inline', 'a'], reason: 'is wrong' }

describe('mistakes in a config', () => {
  it.each([
    ['options', [option], [], /^Correct what is listed; docs\/configuration\.md describes every option\.$/],
    ['an inline mapping', [inline], [], /^Correct what is listed; docs\/mapping\.md describes .*\.$/],
    ['a mapping in a file', [], [mapping], /^Correct what is listed; docs\/mapping\.md describes .*\.$/],
    ['both', [option], [mapping], /docs\/configuration\.md .*, docs\/mapping\.md /],
  ])('of %s lead to the page that describes them', (_what, mistakes, others, fix) => {
    expect(new InvalidConfigError(file, mistakes, others).fix).toMatch(fix)
  })
})
