import type { SourceCapabilities } from '../../../core/source.ts'
import { SCHEMA_CHANGES } from '../../../core/table.ts'

/** What logical replication with `pgoutput` gives, for every server version and configuration. */
export const CAPABILITIES: SourceCapabilities = {
  replay: 'log',
  snapshot: true,
  transactions: true,
  unchangedCells: true,
  updates: true,
  deletes: true,
  schemaChanges: SCHEMA_CHANGES,
}
