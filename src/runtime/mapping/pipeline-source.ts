/**
 * The source of a pipeline as the runtime uses it: with its mapping. What maps is imported by pipelines with a mapping
 * only.
 */
import type { ConnectorContext } from '../../core/context.ts'
import { PreconditionError, type Problem } from '../../core/error.ts'
import type { DocumentMapping } from '../../core/mapping/mapping.ts'
import { selectTables } from '../../core/selection.ts'
import type { Source, SourceContext } from '../../core/source.ts'
import type { PipelineDefinition } from '../definition.ts'
import type { PipelineMapping } from './pipeline-mapping.ts'

/** Of tables that are made from documents and whose name has none in front. */
const DEFAULT_NAMESPACE = 'public'

type Parts = Pick<PipelineDefinition, 'source' | 'tables' | 'mapping'>

/** A new source. One with tables of its own is mapped here, any other does it itself. */
export async function createSource({ source, mapping }: Parts): Promise<Source> {
  const inner = source.create()
  if (mapping === undefined || inner.capabilities().needsMapping === true) return inner
  const { MappedSource } = await import('./mapped-source.ts')
  return new MappedSource(source.create, mapping, inner)
}

/** What a source is given that needs no mapping. */
export function plainContext({ tables }: Pick<Parts, 'tables'>, context: ConnectorContext): SourceContext {
  return { ...context, tables: selectTables(tables) }
}

/** What the source is given. Throws `PreconditionError` when the mapping is not one for it. */
export async function sourceContext(
  { tables, mapping }: Parts,
  source: Source,
  context: ConnectorContext,
): Promise<SourceContext> {
  const base = plainContext({ tables }, context)
  if (source.capabilities().needsMapping !== true) return base
  const { compiled, problems } = await compiledFor(mapping)
  if (compiled === null) throw new PreconditionError(problems)
  return { ...base, mapping: compiled }
}

/** What keeps the source from having the mapping that it needs. */
export async function mappingProblems({ mapping }: Parts, source: Source): Promise<readonly Problem[]> {
  return source.capabilities().needsMapping === true ? (await compiledFor(mapping)).problems : []
}

/** For a source of documents. */
export async function compiledFor(mapping: PipelineMapping | undefined): Promise<{
  readonly compiled: DocumentMapping | null
  readonly problems: readonly Problem[]
}> {
  if (mapping === undefined) return { compiled: null, problems: [MISSING] }
  const { compileNormalized } = await import('../../core/mapping/compile.ts')
  const { locateOf } = await import('./pipeline-mapping.ts')
  const allowsBreaking = mapping.breaking === 'apply'
  const { mapping: compiled, mistakes } = compileNormalized(mapping.tables, {
    namespace: DEFAULT_NAMESPACE,
    allowsBreaking,
  })
  const locate = locateOf(mapping)
  const problems = (mistakes ?? []).map((mistake): Problem => {
    const message = `${locate(mistake)} ${mistake.reason}`
    return {
      severity: 'error',
      code: 'mapping/invalid',
      message,
      fix: 'Correct it; docs/mapping.md says what there is.',
    }
  })
  return { compiled, problems }
}

const MISSING: Problem = {
  severity: 'error',
  code: 'mapping/missing',
  message: 'the source has no tables of its own, and the pipeline has no mapping that makes some',
  fix: 'Say under `mapping` which tables there are, see docs/mapping.md.',
}
