import { dirname, resolve } from 'node:path'
import type { Logger } from '../../core/context.ts'
import { ConfigError } from '../../core/error.ts'
import { MemoryCheckpointStore } from '../checkpoint/memory.ts'
import { SqliteCheckpointStore } from '../checkpoint/sqlite.ts'
import type { CheckpointStore } from '../checkpoint/store.ts'
import type { PipelineDefinition } from '../definition.ts'
import type { HttpClock } from '../mapping/http-text.ts'
import type { MappingConfig } from '../mapping/load-mapping.ts'
import type { PipelineMapping } from '../mapping/pipeline-mapping.ts'
import type { ChosenConnector } from './decode.ts'
import type { LoadedConfig } from './load.ts'

export interface BuildOptions {
  /** Reads the config again when the mapping is to be read again, as it may be in the config itself. */
  readonly reload?: () => Promise<LoadedConfig>
  /** Ends the loading of a mapping. */
  readonly signal?: AbortSignal
  /** Told when a server that has the mapping does not answer. */
  readonly log?: Logger
}

/**
 * Makes the pipeline of a config: imports the drivers that it uses, and loads the mapping, which a server may have.
 * Connects to nothing else. Whoever calls closes the store. Throws `ConfigError` when a driver is not installed or the
 * mapping has mistakes, and other `CoreError`s when it cannot be had.
 */
export async function buildPipeline(
  config: LoadedConfig,
  options: BuildOptions = {},
): Promise<PipelineDefinition> {
  const mapping = await loadMapping(config, options)
  const [create, ...createSinks] = await Promise.all([
    factory(config.source),
    ...config.sinks.map((sink) => factory(sink)),
  ])
  if (mapping !== null && create().capabilities().needsMapping === true) await requireDocumentMapping(mapping)
  return {
    name: config.name,
    tables: config.tables,
    source: { type: config.source.connector.type, create },
    sinks: config.sinks.map(({ name, connector }, index) => ({
      name,
      type: connector.type,
      create: createSinks[index]!,
    })),
    ...(mapping === null ? {} : { mapping }),
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

async function loadMapping(
  config: LoadedConfig,
  { reload, signal = new AbortController().signal, log }: BuildOptions,
): Promise<PipelineMapping | null> {
  const own = mappingConfig(config)
  if (own === null) return null
  const reread = reload === undefined ? null : async () => mappingConfig(await reload())
  const { MappingLoader, systemClock } = await import('../mapping/load-mapping.ts')
  const clock: HttpClock = {
    ...systemClock,
    retrying: (error, delayMs) =>
      log?.warn(`the mapping cannot be had yet: ${error.message}`, { code: error.code, delayMs }),
  }
  return await new MappingLoader(own, reread, clock).load(signal)
}

/** A source of documents has nothing to ask a server for: what a mapping lacks for it is a mistake of the config. */
async function requireDocumentMapping(mapping: PipelineMapping): Promise<void> {
  const { compiledFor } = await import('../mapping/pipeline-source.ts')
  const { problems } = await compiledFor(mapping)
  if (problems.length === 0) return
  const count = problems.length === 1 ? 'a mistake' : `${problems.length} mistakes`
  const lines = problems.map(({ message }) => `  ${message}`)
  throw new ConfigError('mapping/invalid', `the mapping has ${count}\n${lines.join('\n')}`, {
    fix: 'Correct what is listed; docs/mapping.md says what there is.',
  })
}

function mappingConfig({ mapping, file, written }: LoadedConfig): MappingConfig | null {
  if (mapping === undefined) return null
  return { mapping, file, ...(written === undefined ? {} : { written }) }
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
