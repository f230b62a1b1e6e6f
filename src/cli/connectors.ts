import type { Registry } from '../core/registry.ts'
import { builtInConnectors } from '../runtime/config/connectors.ts'
import { configJsonSchema } from '../runtime/config/json-schema.ts'
import { connectorsOf } from '../runtime/config/load.ts'
import { describeOptions } from '../runtime/config/option-table.ts'
import { exitCodes } from '../runtime/policy.ts'
import { columns } from './help.ts'
import type { Terminal } from './terminal.ts'

/** Lists what a config can name as `type`. */
export function listConnectors(args: { readonly json: boolean }, terminal: Terminal): number {
  const { sources, sinks } = builtInConnectors()
  const all = [...describe('source', sources), ...describe('sink', sinks)]
  if (args.json) {
    terminal.print(JSON.stringify(all, null, 2))
    return exitCodes.ok
  }
  for (const kind of ['source', 'sink']) {
    terminal.print(`${kind}s`)
    const rows = all.filter((it) => it.kind === kind).map((it) => [it.type, it.summary] as const)
    for (const line of columns(rows)) terminal.print(line)
  }
  return exitCodes.ok
}

/** Prints the JSON Schema of config files: `# yaml-language-server: $schema=...` makes editors use it. */
export async function printSchema(
  args: { readonly config: string | null },
  terminal: Terminal,
): Promise<number> {
  const connectors = args.config === null ? builtInConnectors() : await connectorsOf(args.config)
  terminal.print(JSON.stringify(configJsonSchema(connectors), null, 2))
  return exitCodes.ok
}

function describe<Instance>(kind: 'source' | 'sink', registry: Registry<Instance>) {
  return registry.connectors.map((connector) => ({
    type: connector.type,
    kind,
    summary: connector.summary,
    options: describeOptions(connector.config),
  }))
}
