/** The library: run pipelines from code, define configs with types, write connectors. */

// Pipelines
export { type Config, defineConfig, thirdParty } from './runtime/config/define.ts'
export { buildPipeline } from './runtime/config/build.ts'
export { InvalidConfigError } from './runtime/config/format.ts'
export { type LoadedConfig, loadConfig } from './runtime/config/load.ts'
export { createLogger } from './runtime/config/log.ts'
export type {
  PipelineDefinition,
  PipelineLimits,
  PipelineResult,
  RunOptions,
  SinkDefinition,
  SourceDefinition,
} from './runtime/definition.ts'
export type { MappingReload, PipelineMapping } from './runtime/mapping/pipeline-mapping.ts'
export { ReloadRequests } from './runtime/mapping/reload-requests.ts'
export { checkPipeline, runPipeline } from './runtime/pipeline.ts'
export type { PipelinePhase, PipelineStatus, SinkStatus } from './runtime/telemetry.ts'
export type { VerifyOptions } from './runtime/verify/comparison.ts'
export { repairPipeline } from './runtime/verify/repair.ts'
export type { Example, TableReport, VerifyProgress, VerifyReport } from './runtime/verify/report.ts'
export { verifyPipeline } from './runtime/verify/verify.ts'
export { MemoryCheckpointStore } from './runtime/checkpoint/memory.ts'
export { SqliteCheckpointStore } from './runtime/checkpoint/sqlite.ts'
export {
  type Checkpoint,
  CheckpointStore,
  type Lease,
  type LeaseOwner,
  type PipelineState,
} from './runtime/checkpoint/store.ts'

// Connectors
export { type Connector, defineSink, defineSource } from './core/registry.ts'
export * as fields from './core/fields.ts'
export { Secret } from './core/secret.ts'
export type { ConnectorContext, LogFields, Logger } from './core/context.ts'
export {
  type BatchWriter,
  handOver,
  type SnapshotProgress,
  Source,
  type SourceCapabilities,
  type SourceContext,
} from './core/source.ts'
export {
  type ReplayProtection,
  Sink,
  type SinkCapabilities,
  type SinkContext,
  type SinkResume,
  type WriteContext,
  type WriteResult,
} from './core/sink.ts'
export {
  type LiveChanges,
  type LoggedChanges,
  type PositionedChange,
  sourceFromIterable,
} from './core/iterable-source.ts'
export type {
  KeyRange,
  PackedKeys,
  RowConsumer,
  RowReader,
  SinkReader,
  SinkTable,
  SourceReader,
  SourceSnapshot,
} from './core/row-reader.ts'
export { selectTables, type TableSelection } from './core/selection.ts'

// Schemas and table mappings
export { defineMappings, defineSchema } from './core/mapping/define.ts'
export { type MappingInput, type Normalized, normalizeMapping } from './core/mapping/normalize.ts'
export type { ColumnName, RowOf, TableName } from './core/mapping/row-types.ts'

// Records
export { RecordBatch, type TransactionSpan } from './core/batch.ts'
export { UNCHANGED, type Value } from './core/canonical.ts'
export { addChange, type Change, type LeftOut, tableOf } from './core/change.ts'
export { type ColumnType, describeType, parseType } from './core/column-type.ts'
export { declareTable, type TableDeclaration } from './core/declared-table.ts'
export { parseJson } from './core/exact-json.ts'
export { expected, fits } from './core/fits.ts'
export { CellState, Op, PackedRows } from './core/packed-rows.ts'
export { comparePositions, type Json, type SourcePosition } from './core/position.ts'
export type * from './core/record.ts'
export type { RowView } from './core/row-view.ts'
export {
  type Column,
  SCHEMA_CHANGES,
  type SchemaOperation,
  type SchemaOperationKind,
  tableName,
  type TableSchema,
} from './core/table.ts'
export { packRows, type TransactionInfo, ValueBatchBuilder, type ValueRow } from './core/value-batch.ts'

// The memory connectors' other ends, for tests and examples
export { MemoryTarget } from './connectors/sinks/memory/target.ts'
export { MemoryDatabase } from './connectors/sources/memory/database.ts'

// How far the clients of a Zero sink are
export { type ZeroWatermarks, zeroWatermarks } from './connectors/sinks/zero/watermarks.ts'

// Errors
export * from './core/error.ts'
