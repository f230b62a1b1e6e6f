import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { generatedDocs } from '../../../scripts/generate-docs.ts'
import { withBlock } from '../../../scripts/marked-block.ts'
import { describeOptions, optionTable } from '../../../src/runtime/config/option-table.ts'
import { RiverConfig } from './test-connectors.ts'

describe('docs', () => {
  it.each(generatedDocs().filter(({ path }) => existsSync(path)))(
    'have the current options in $path (else: node scripts/generate-docs.ts)',
    ({ path, table }) => {
      const text = readFileSync(path, 'utf8')
      expect(withBlock(text, 'options', table)).toBe(text)
    },
  )

  it('describe the config file', () => {
    expect(existsSync('docs/configuration.md')).toBe(true)
  })

  it.each(generatedDocs())('say something about every option in $path', ({ table }) => {
    expect(table.split('\n').filter((row) => row.endsWith('|  |'))).toEqual([])
  })

  it('show every option with type, default and meaning', () => {
    expect(optionTable(describeOptions(RiverConfig)).split('\n').slice(2)).toEqual([
      '| `url` | secret | required | Address, with user and password. |',
      '| `slot` | name |  | Name of the slot. |',
      '| `port` | integer | `5432` | Port. |',
      '| `heartbeat` | duration | `10s` | How often. |',
      '| `window` | size | `16MiB` | How much. |',
      '| `snapshot` | `initial \\| never` | `initial` | Whether to copy \\| first. |',
      '| `compress` | boolean | `false` | Whether to compress. |',
      '| `schemas` | list of text | `[]` | Schemas. |',
      '| `settings` | map of text | `{}` | Settings of the session. |',
      '| `tls.ca` | text |  | Certificate. |',
      '| `tls.verify` | boolean | `true` | Whether to verify. |',
    ])
  })
})
