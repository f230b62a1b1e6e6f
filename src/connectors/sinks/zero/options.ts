/** From what the user wrote to what the parts of the sink take. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Problem } from '../../../core/error.ts'
import type { TableSchema } from '../../../core/table.ts'
import type { CatalogOptions } from './catalog.ts'
import type { ZeroConfig } from './config.ts'
import { internalProblems, internalRole } from './internal-tables.ts'
import { checkNames } from './names.ts'
import { planTable, textColumns } from './plan.ts'
import { publicationProblems } from './publication-check.ts'
import type { PublicationDefinitions } from './publications.ts'
import { loadSchema } from './schema-load.ts'
import { schemaProblems, wantedOf, type WantedTables } from './schema.ts'

/** The schema of the clients, if the options name one. Throws `CoreError` when it cannot be had. */
export async function loadWanted({ schema }: ZeroConfig, now: () => number): Promise<WantedTables | null> {
  if (schema === undefined) return null
  const { url, ...rest } = schema
  const options = { ...rest, ...(url === undefined ? {} : { url: url.reveal() }) }
  return loadSchema(options, { now, wait: (milliseconds) => delay(milliseconds) })
}

/** How tables look to Zero. */
export function planOptions(
  config: ZeroConfig,
  wanted: WantedTables | null,
  worried: (problem: Problem) => void = () => {},
): CatalogOptions {
  const { bigints, decimals, defaultNamespace } = config
  return {
    bigints,
    decimals,
    defaultNamespace,
    textColumns: textColumns(config.textColumns),
    worried,
    wanted: (table) => (wanted === null ? undefined : wantedOf(wanted, table, defaultNamespace)),
  }
}

export function publicationDefinitions({ publications }: ZeroConfig): PublicationDefinitions {
  return publications as PublicationDefinitions
}

/** Everything about these tables that stands in the way, at once. */
export function tableProblems(
  config: ZeroConfig,
  wanted: WantedTables | null,
  tables: readonly TableSchema[],
): readonly Problem[] {
  const options = planOptions(config, wanted)
  const served = tables.filter((table) => options.wanted(table) !== null)
  const plans = served.map((table) => planTable(table, options, options.wanted(table) ?? null))
  const versions = plans.flatMap(({ version }) => version ?? [])
  const own = plans.flatMap(({ problems }) => problems)
  const known = new Set(own.map(({ message }) => message))
  const internal = versions.flatMap((version) => {
    const role = internalRole(version)
    return role === null ? [] : internalProblems(role, version)
  })
  const permissions = versions.filter((version) => internalRole(version)?.role === 'permissions')
  return [
    ...own,
    ...checkNames(served, config.defaultNamespace).filter(({ message }) => !known.has(message)),
    ...internal,
    ...(wanted === null ? [] : schemaProblems(wanted, versions)),
    ...publicationProblems(publicationDefinitions(config), versions),
    ...(config.permissions === 'none' ? [] : permissions.map(({ source }) => twoPermissions(source))),
  ]
}

function twoPermissions(source: string): Problem {
  return {
    severity: 'error',
    code: 'zero/permissions-twice',
    message: `permissions are in the options and in table ${source} of the source`,
    fix: 'Remove the option `permissions`, or leave the table out.',
  }
}
