import type { PipelineDefinition } from '../definition.ts'
import { Comparison, type VerifyOptions } from './comparison.ts'
import type { VerifyReport } from './report.ts'

/**
 * Compares the source of a pipeline with one of its sinks, row by row, also while the pipeline runs. Changes nothing on
 * either side and takes no lease. Rejects with a `CoreError` when the comparison is not possible.
 */
export async function verifyPipeline(
  definition: PipelineDefinition,
  options: VerifyOptions,
): Promise<VerifyReport> {
  await using comparison = await Comparison.open(definition, options)
  await comparison.run()
  return await comparison.report()
}
