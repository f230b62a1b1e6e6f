import { describeLaws } from '../describe-laws.ts'
import type { SinkHarness } from './harness.ts'
import { sinkLaws } from './laws.ts'

/** Runs the laws of sinks as a vitest suite. `name` is the connector's type. */
export function describeSink(name: string, harness: SinkHarness): void {
  describeLaws('sink', name, sinkLaws, harness)
}
