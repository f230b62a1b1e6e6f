import type { SourceCapabilities } from '../../../core/source.ts'
import { SCHEMA_CHANGES } from '../../../core/table.ts'

/** What change streams and a mapping give. Schema changes come from changed mappings, truncates also from drops. */
export const CAPABILITIES: SourceCapabilities = {
  replay: 'log',
  replaysFrom: true,
  needsMapping: true,
  snapshot: true,
  transactions: true,
  unchangedCells: false,
  updates: true,
  deletes: true,
  schemaChanges: SCHEMA_CHANGES,
}
