/** Names on the server that are made from that of the pipeline. */
import type { SourceContext } from '../../../core/source.ts'
import type { PostgresConfig } from './config.ts'

export function namesOf(
  config: Pick<PostgresConfig, 'slot' | 'publication'>,
  context: SourceContext,
): { readonly slot: string; readonly publication: string } {
  const derived = `sluice_${context.pipeline.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_')}`.slice(0, 63)
  return { slot: config.slot ?? derived, publication: config.publication ?? derived }
}

export function applicationName(context: SourceContext): string {
  return `sluice ${context.pipeline}`
}
