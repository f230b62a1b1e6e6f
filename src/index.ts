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
export { checkPipeline, runPipeline } from './runtime/pipeline.ts'
export type { PipelinePhase, PipelineStatus, SinkStatus } from './runtime/telemetry.ts'
export { MemoryCheckpointStore } from './runtime/checkpoint/memory.ts'
export { SqliteCheckpointStore } from './runtime/checkpoint/sqlite.ts'
export { type Checkpoint, CheckpointStore, type Lease, type LeaseOwner } from './runtime/checkpoint/store.ts'

// Connectors
export { type Connector, defineSink, defineSource } from './core/registry.ts'
export * as fields from './core/fields.ts'
export { Secret } from './core/secret.ts'
export type { ConnectorContext, LogFields, Logger } from './core/context.ts'
export {
  type BatchWriter,
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
export { selectTables, type TableSelection } from './core/selection.ts'

// Records
export { RecordBatch, type TransactionSpan } from './core/batch.ts'
export { UNCHANGED, type Value } from './core/canonical.ts'
export type { ColumnType } from './core/column-type.ts'
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
export { type TransactionInfo, ValueBatchBuilder, type ValueRow } from './core/value-batch.ts'

// The memory connectors' other ends, for tests and examples
export { MemoryTarget } from './connectors/sinks/memory/target.ts'
export { MemoryDatabase } from './connectors/sources/memory/database.ts'

// Errors
export * from './core/error.ts'
