import { boolean, described, duration, struct, text, withDefault } from '../../../core/fields.ts'
import type { SourceCapabilities } from '../../../core/source.ts'

/** Options of the `memory` source. */
export const MemoryConfig = struct({
  database: text().pipe(
    described('Name of the database, shared by everything in this process that uses the name.'),
  ),
  partialUpdates: boolean().pipe(
    described('Leaves cells that did not change out of updates, as servers do with large values.'),
    withDefault(false),
  ),
  heartbeat: duration({ min: '1ms' }).pipe(described('How often an idle log says so.'), withDefault('1s')),
})

export type MemoryConfig = typeof MemoryConfig.Type

export function capabilitiesOf(config: MemoryConfig): SourceCapabilities {
  return {
    replay: 'log',
    snapshot: true,
    transactions: true,
    unchangedCells: config.partialUpdates,
    updates: true,
    deletes: true,
    schemaChanges: ['drop-table', 'truncate', 'add-column', 'drop-column', 'rename-column', 'alter-column'],
  }
}
