/** Everything that would stop or worry the pipeline, found before anything moves. Read-only. */
import type pg from 'pg'
import type { Problem } from '../../../core/error.ts'
import { isLiteral, type TableSelection } from '../../../core/selection.ts'
import {
  type CatalogTable,
  identifier,
  literal,
  missingTables,
  type Publication,
  readPublication,
  readServer,
  readSlot,
  readTables,
  type Server,
  type Slot,
} from './catalog.ts'

export interface CheckRequest {
  readonly sql: pg.Client
  readonly slot: string
  readonly publication: string
  readonly selection: TableSelection
  /** Tables of which old rows have to be whole. */
  readonly oldImages: TableSelection | null
}

export async function check(request: CheckRequest): Promise<readonly Problem[]> {
  const { sql, selection } = request
  const server = await readServer(sql)
  const publication = await readPublication(sql, request.publication)
  const slot = await readSlot(sql, request.slot)
  const tables = await readTables(sql, {
    publication: publication === null ? null : request.publication,
    selection,
    serverVersion: server.version,
  })
  const everything =
    publication === null
      ? tables
      : await readTables(sql, { publication: null, selection, serverVersion: server.version })
  return [
    ...checkServer(server, slot),
    ...checkSlot(slot, server, request.slot),
    ...checkPublication(publication, server, request.publication, tables),
    ...checkSelection(selection, tables, everything, publication === null ? null : request.publication),
    ...tables.flatMap((table) => [...checkTable(table, server)]),
    ...tables
      .filter(({ namespace, name }) => request.oldImages?.includes(namespace, name))
      .flatMap(checkOldRows),
  ]
}

function error(code: string, message: string, fix: string): Problem {
  return { severity: 'error', code: `postgres/${code}`, message, fix }
}

function warning(code: string, message: string, fix: string): Problem {
  return { severity: 'warning', code: `postgres/${code}`, message, fix }
}

function* checkServer(server: Server, slot: Slot | null): Generator<Problem> {
  if (server.version < 130_000) {
    yield error(
      'version',
      `the server is version ${Math.floor(server.version / 10_000)}, 13 or later is needed`,
      'Upgrade the server.',
    )
  }
  if (server.walLevel !== 'logical') {
    yield error(
      'wal-level',
      `wal_level is "${server.walLevel}", logical replication needs "logical"`,
      'Run ALTER SYSTEM SET wal_level = logical and restart the server (managed services: set rds.logical_replication or the like).',
    )
  }
  if (server.inRecovery) {
    yield error('standby', 'the server is a standby', 'Use the address of the primary.')
  }
  if (!server.canReplicate) {
    yield error(
      'replication-permission',
      `the role "${server.role}" may not replicate`,
      `Run ALTER ROLE ${identifier(server.role)} REPLICATION.`,
    )
  }
  if (server.freeSlots < 1) {
    // With a slot, one more is needed for copies and for catching up only; without it, streaming goes on.
    const severity = slot === null ? error : warning
    yield severity(
      'no-free-slot',
      'all replication slots are in use',
      'Raise max_replication_slots, or drop slots that nobody reads.',
    )
  }
  if (server.freeSenders < 1) {
    yield error('no-free-sender', 'all WAL senders are in use', 'Raise max_wal_senders.')
  }
}

function* checkSlot(slot: Slot | null, server: Server, name: string): Generator<Problem> {
  if (slot === null) return
  if (slot.plugin !== 'pgoutput') {
    yield error(
      'slot-plugin',
      `the replication slot "${name}" uses the plugin "${slot.plugin}", not pgoutput`,
      'Give the pipeline a slot of its own with source.slot.',
    )
  } else if (slot.database !== server.database) {
    yield error(
      'slot-database',
      `the replication slot "${name}" belongs to the database "${slot.database}", not "${server.database}"`,
      'Give the pipeline a slot of its own with source.slot.',
    )
  } else if (slot.active) {
    yield warning(
      'slot-active',
      `the replication slot "${name}" is in use at the moment`,
      'If that is not an earlier run of this pipeline which is ending, give the pipeline a slot of its own with source.slot.',
    )
  }
}

function* checkPublication(
  publication: Publication | null,
  server: Server,
  name: string,
  tables: readonly CatalogTable[],
): Generator<Problem> {
  if (publication === null) {
    const foreign = tables.filter((table) => !table.owned)
    if (!server.canCreateInDatabase || foreign.length > 0) {
      const list = tables.map((table) => `${identifier(table.namespace)}.${identifier(table.name)}`)
      const shown = list.length > 20 ? `${list.slice(0, 20).join(', ')}, ...` : list.join(', ')
      yield error(
        'publication-permission',
        `the publication "${name}" does not exist and the role "${server.role}" may not create it`,
        `As the owner of the tables run CREATE PUBLICATION ${identifier(name)} FOR TABLE ${shown}.`,
      )
    }
    return
  }
  const { operations } = publication
  const missing = (['insert', 'update', 'delete', 'truncate'] as const).filter(
    (operation) => !operations[operation],
  )
  if (missing.length > 0) {
    yield error(
      'publication-operations',
      `the publication "${name}" leaves out ${missing.join(', ')}`,
      `Run ALTER PUBLICATION ${identifier(name)} SET (publish = 'insert, update, delete, truncate').`,
    )
  }
}

function* checkSelection(
  selection: TableSelection,
  tables: readonly CatalogTable[],
  everything: readonly CatalogTable[],
  publication: string | null,
): Generator<Problem> {
  const missing = missingTables(selection, tables)
  for (const name of missing) {
    const exists = everything.some((table) => `${table.namespace}.${table.name}` === name)
    yield exists && publication !== null
      ? error(
          'table-not-published',
          `the table ${name} is not in the publication "${publication}"`,
          `Run ALTER PUBLICATION ${identifier(publication)} ADD TABLE ${name}.`,
        )
      : error(
          'table-missing',
          `the table ${name} does not exist`,
          'Check its name and schema in tables, or create it.',
        )
  }
  if (tables.length === 0 && missing.length === 0) {
    yield error(
      'no-tables',
      'no table is selected',
      'Check the patterns in tables: they are schema.table, for example public.*',
    )
  }
  if (publication === null || selection.patterns.every(isLiteral)) return
  const published = new Set(tables.map((table) => table.oid))
  const left = everything.filter(
    (table) => !published.has(table.oid) && !missing.includes(`${table.namespace}.${table.name}`),
  )
  if (left.length > 0) {
    const names = left.slice(0, 5).map((table) => `${table.namespace}.${table.name}`)
    yield warning(
      'tables-not-published',
      `${left.length} selected table${left.length === 1 ? ' is' : 's are'} not in the publication "${publication}" and will not be replicated: ${names.join(', ')}${left.length > 5 ? ', ...' : ''}`,
      `Run ALTER PUBLICATION ${identifier(publication)} ADD TABLE for the ones that you want.`,
    )
  }
}

function* checkTable(table: CatalogTable, server: Server): Generator<Problem> {
  const name = `${table.namespace}.${table.name}`
  if (!table.selectable) {
    yield error(
      'table-permission',
      `the role "${server.role}" may not read the table ${name}`,
      `Run GRANT SELECT ON ${identifier(table.namespace)}.${identifier(table.name)} TO ${identifier(server.role)} (and USAGE on its schema).`,
    )
  }
  if (table.rowSecurity) {
    yield error(
      'row-security',
      `the table ${name} has row-level security that would hide rows from the role "${server.role}"`,
      `Run ALTER ROLE ${identifier(server.role)} BYPASSRLS.`,
    )
  }
  if (table.identity === 'n') {
    yield error(
      'identity-nothing',
      `the table ${name} has REPLICA IDENTITY NOTHING, so updates and deletes cannot be replicated`,
      `Run ALTER TABLE ${name} REPLICA IDENTITY DEFAULT, or exclude it with ${literal(`!${name}`)} in tables.`,
    )
  } else if (table.key.length === 0) {
    yield error(
      'no-key',
      `the table ${name} has no primary key`,
      `Add a primary key, or a unique index on columns that are NOT NULL with ALTER TABLE ${name} REPLICA IDENTITY USING INDEX; or exclude the table with ${literal(`!${name}`)} in tables.`,
    )
  } else if (!table.key.every((number) => table.columns.some((column) => column.number === number))) {
    yield error(
      'key-not-published',
      `the publication leaves out a key column of the table ${name}`,
      'Add all columns of the primary key to the column list of the publication.',
    )
  }
}

/** A mapping that looks at more than the key has to see what rows were before. */
function checkOldRows({ namespace, name, identity }: CatalogTable): readonly Problem[] {
  if (identity === 'f') return []
  return [
    error(
      'identity-not-full',
      `the mapping of the table ${namespace}.${name} looks at columns outside its key, and the log tells only the key of rows that change or go`,
      `Run ALTER TABLE ${identifier(namespace)}.${identifier(name)} REPLICA IDENTITY FULL, before the pipeline copies the table.`,
    ),
  ]
}
