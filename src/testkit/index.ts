/**
 * The conformance kit, `sluice/testkit`: the laws that every connector keeps, as vitest suites against a real server.
 * CONTRIBUTING_CONNECTORS.md says how to use it.
 */
export type { Address } from './address.ts'
export type { KitChange, KitColumn, KitRow, KitType, KitValue, TextRow } from './change.ts'
export type { Law, LawSubject, Waivers } from './law.ts'
export { type ScorecardLine, scorecard, scorecardTable } from './scorecard.ts'
export { describeSink } from './sink/describe.ts'
export type { SinkBench, SinkHarness, SinkNeeds, SinkOptions } from './sink/harness.ts'
export { sinkLaws } from './sink/laws.ts'
export { describeSource } from './source/describe.ts'
export type { SourceBench, SourceHarness, SourceOptions, TypeSamples } from './source/harness.ts'
export { sourceLaws } from './source/laws.ts'
export { type Direction, TcpProxy } from './tcp-proxy.ts'
export { waitFor } from './wait-for.ts'
