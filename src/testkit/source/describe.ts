import { describeLaws } from '../describe-laws.ts'
import type { SourceHarness } from './harness.ts'
import { sourceLaws } from './laws.ts'

/** Runs the laws of sources as a vitest suite. `name` is the connector's type. */
export function describeSource(name: string, harness: SourceHarness): void {
  describeLaws('source', name, sourceLaws, harness)
}
