import type { SourceCapabilities } from '../../../core/source.ts'
import type { MemoryConfig } from './config.ts'

export function capabilitiesOf(config: MemoryConfig): SourceCapabilities {
  return {
    replay: 'log',
    snapshot: true,
    transactions: true,
    unchangedCells: config.partialUpdates,
    updates: true,
    deletes: true,
    schemaChanges: ['truncate', 'add-column', 'drop-column', 'rename-column', 'alter-column'],
  }
}
