import { dirname, resolve } from 'node:path'
import { ConfigError } from '../../core/error.ts'
import { MemoryCheckpointStore } from '../checkpoint/memory.ts'
import { SqliteCheckpointStore } from '../checkpoint/sqlite.ts'
import type { CheckpointStore } from '../checkpoint/store.ts'
import type { PipelineDefinition } from '../definition.ts'
import type { ChosenConnector } from './decode.ts'
import type { LoadedConfig } from './load.ts'

/**
 * Makes the pipeline of a config: imports the drivers that it uses and connects to nothing. Whoever calls closes the
 * store. Throws `ConfigError` when a driver is not installed.
 */
export async function buildPipeline(config: LoadedConfig): Promise<PipelineDefinition> {
  const [create, ...createSinks] = await Promise.all([
    factory(config.source),
    ...config.sinks.map((sink) => factory(sink)),
  ])
  return {
    name: config.name,
    tables: config.tables,
    source: { type: config.source.connector.type, create },
    sinks: config.sinks.map(({ name, connector }, index) => ({
      name,
      type: connector.type,
      create: createSinks[index]!,
    })),
    store: storeOf(config),
    limits: {
      bufferBytes: config.buffer,
      retryBudgetMs: config.retry.budget,
      startBudgetMs: config.retry.startBudget,
      shutdownDeadlineMs: config.shutdown.deadline,
      checkpointIntervalMs: config.checkpoint.interval,
    },
  }
}

async function factory<Instance>({ connector, options }: ChosenConnector<Instance>): Promise<() => Instance> {
  try {
    const make = await connector.load()
    return () => make(options as never)
  } catch (cause) {
    const missing = missingPackage(cause)
    if (missing === null) throw cause
    throw new ConfigError(
      'config/driver-missing',
      `the connector "${connector.type}" needs the package ${missing}`,
      {
        cause,
        fix: `Install it: npm install ${missing}`,
      },
    )
  }
}

/** The package that an import did not find; null when that is not what happened. */
function missingPackage(error: unknown): string | null {
  if (!(error instanceof Error) || (error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND')
    return null
  return /^Cannot find package '([^']+)'/.exec(error.message)?.[1] ?? null
}

function storeOf(config: LoadedConfig): CheckpointStore {
  switch (config.checkpoint.store) {
    case 'memory':
      return new MemoryCheckpointStore()
    case 'sqlite':
      return new SqliteCheckpointStore(
        resolve(dirname(config.file), config.checkpoint.path ?? `.sluice/${config.name}.db`),
      )
  }
}
