import type { NormalizedMapping } from '../../core/mapping/normalized.ts'
import type { Locate } from './mapped-tables.ts'

/** How a pipeline makes tables of what the source has. */
export interface PipelineMapping {
  readonly tables: NormalizedMapping
  /** For messages: where something stands, such as `tables.yaml:3:5 orders.fields.id`. */
  readonly locate?: Locate
  /** What happens to a changed mapping that drops a table or a column, or changes a type or a key. */
  readonly breaking: 'refuse' | 'apply'
  /** How to read it again while the pipeline runs; never when left out. */
  readonly reload?: MappingReload
}

export interface MappingReload {
  /** Null when it is what was loaded last. Throws `CoreError`; the running mapping goes on then. */
  load(signal: AbortSignal): Promise<PipelineMapping | null>
  /** How often to look by itself, in milliseconds; null: only when asked. */
  readonly everyMs: number | null
}

export function locateOf(mapping: PipelineMapping): Locate {
  return (
    mapping.locate ?? (({ document, path }) => `mapping.${document}${path.map((key) => `.${key}`).join('')}:`)
  )
}
