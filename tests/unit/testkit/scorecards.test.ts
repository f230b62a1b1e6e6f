import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { withBlock } from '../../../scripts/marked-block.ts'
import { scorecard, scorecardTable, sinkLaws, sourceLaws } from '../../../src/testkit/index.ts'
import { clickHouseHarness } from '../../conformance/clickhouse.harness.ts'
import { memorySinkHarness } from '../../conformance/memory-sink.harness.ts'
import { memoryHarness } from '../../conformance/memory-source.harness.ts'
import { mongodbHarness } from '../../conformance/mongodb.harness.ts'
import { postgresHarness } from '../../conformance/postgres.harness.ts'
import { zeroHarness } from '../../conformance/zero.harness.ts'

// The laws themselves run in tests/conformance, on real servers.
it.each([
  ['sources/memory', scorecard(sourceLaws, memoryHarness)],
  ['sources/mongodb', scorecard(sourceLaws, mongodbHarness(false))],
  ['sources/postgres', scorecard(sourceLaws, postgresHarness)],
  ['sinks/memory', scorecard(sinkLaws, memorySinkHarness())],
  [
    'sinks/clickhouse',
    scorecard(
      sinkLaws,
      clickHouseHarness(() => ''),
    ),
  ],
  ['sinks/zero', scorecard(sinkLaws, zeroHarness())],
])('shows the laws that it keeps in the README of %s (else: npm run conformance)', (folder, lines) => {
  const readme = readFileSync(`src/connectors/${folder}/README.md`, 'utf8')
  expect(withBlock(readme, 'laws', scorecardTable(lines))).toBe(readme)
})
