import { MemorySource } from '../../../../src/connectors/sources/memory/source.ts'
import { normalizeMapping } from '../../../../src/core/mapping/normalize.ts'
import type { Json } from '../../../../src/core/position.ts'
import type { PipelineDefinition } from '../../../../src/runtime/definition.ts'
import type { PipelineMapping } from '../../../../src/runtime/mapping/pipeline-mapping.ts'
import { FaultySource, type SourceFaults } from '../../../support/faulty-source.ts'
import type { Faults } from '../../../support/faulty-sink.ts'
import { memoryPipeline } from '../../../support/memory-pipeline.ts'

export function mappingOf(mappings: Json, options: Partial<PipelineMapping> = {}): PipelineMapping {
  const { mapping, mistakes } = normalizeMapping({ schema: null, mappings })
  if (mapping === null) throw new Error(JSON.stringify(mistakes))
  return { tables: mapping, breaking: 'refuse', ...options }
}

/** A pipeline between memory connectors whose source tells whole old rows. */
export function mappedPipeline(
  mappings: Json,
  options: {
    readonly source?: SourceFaults
    readonly sinks?: readonly Faults[]
    readonly partial?: boolean
  } = {},
) {
  const setup = memoryPipeline(options.sinks === undefined ? {} : { sinks: options.sinks })
  const { name } = setup.definition
  const create = () =>
    new FaultySource(
      new MemorySource({ database: name, heartbeat: 20, partialUpdates: options.partial ?? false }),
      options.source ?? {},
    )
  const definition: PipelineDefinition = {
    ...setup.definition,
    source: { type: 'memory', create },
    mapping: mappingOf(mappings),
  }
  return { ...setup, definition }
}
