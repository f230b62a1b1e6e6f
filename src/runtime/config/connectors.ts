import { registerHooks } from 'node:module'
import { dirname, extname, isAbsolute, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import * as Schema from 'effect/Schema'
import * as builtInSinks from '../../connectors/sinks/index.ts'
import * as builtInSources from '../../connectors/sources/index.ts'
import { type AnyConnector, Registry } from '../../core/registry.ts'
import type { Sink } from '../../core/sink.ts'
import type { Source } from '../../core/source.ts'
import type { Mistake } from './mistakes.ts'

/** What a config can refer to by `type`. */
export interface Connectors {
  readonly sources: Registry<Source>
  readonly sinks: Registry<Sink>
}

/** The connectors that come with Sluice. */
export function builtInConnectors(): Connectors {
  return {
    sources: new Registry<Source>('source', Object.values(builtInSources)),
    sinks: new Registry<Sink>('sink', Object.values(builtInSinks)),
  }
}

/**
 * Imports packages or files of third parties, relative to the config file, and registers what they export as `sources`
 * and `sinks`. Returns what is wrong with them; paths are those of the option `connectors`.
 */
export async function registerThirdParty(
  connectors: Connectors,
  specifiers: readonly unknown[],
  configFile: string,
): Promise<readonly Mistake[]> {
  const mistakes: Mistake[] = []
  for (const [index, specifier] of specifiers.entries()) {
    // Anything else is reported when the envelope is decoded.
    if (typeof specifier !== 'string' || specifier === '') continue
    const reason = await register(connectors, specifier, configFile)
    if (reason !== null) mistakes.push({ path: ['connectors', index], reason })
  }
  return mistakes
}

async function register(
  connectors: Connectors,
  specifier: string,
  configFile: string,
): Promise<string | null> {
  let module: Readonly<Record<string, unknown>>
  try {
    module = await importFrom(specifier, configFile)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split('\n')[0]! : 'unknown reason'
    return `cannot be imported (${reason}); install the package, or check the path`
  }
  const sources = listOf<Source>(module['sources'])
  const sinks = listOf<Sink>(module['sinks'])
  if (sources === null || sinks === null || sources.length + sinks.length === 0) {
    return 'must export `sources` or `sinks`: arrays of what defineSource or defineSink return'
  }
  const taken = [
    ...sources.filter((connector) => connectors.sources.types.includes(connector.type)),
    ...sinks.filter((connector) => connectors.sinks.types.includes(connector.type)),
  ]
  if (taken.length > 0) return `brings the type "${taken[0]!.type}", which exists already`
  for (const connector of sources) connectors.sources.register(connector)
  for (const connector of sinks) connectors.sinks.register(connector)
  return null
}

function listOf<Instance>(value: unknown): readonly AnyConnector<Instance>[] | null {
  if (value === undefined) return []
  return Array.isArray(value) && value.every(isConnector) ? (value as AnyConnector<Instance>[]) : null
}

function isConnector(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const { type, summary, config, load } = value as Partial<AnyConnector<never>>
  return (
    typeof type === 'string' &&
    typeof summary === 'string' &&
    Schema.isSchema(config) &&
    typeof load === 'function'
  )
}

/** The public entry of this very copy: TypeScript in the repository, JavaScript in the package. */
const ownEntry = new URL(`../../index${extname(import.meta.url)}`, import.meta.url).href

/**
 * From now on `import 'sluice'` means this copy, wherever a connector is installed, now and when it loads its driver
 * later. With a copy of its own its errors would be strangers to us, and one that is linked into a project while it is
 * written would find none.
 */
function useOwnEntry(): void {
  ownEntryHook ??= registerHooks({
    resolve: (wanted, context, next) => next(wanted === 'sluice' ? ownEntry : wanted, context),
  })
}

let ownEntryHook: ReturnType<typeof registerHooks> | null = null

/** Imports as if the config file did: a package is looked for beside it, not beside Sluice. */
async function importFrom(specifier: string, configFile: string): Promise<Readonly<Record<string, unknown>>> {
  useOwnEntry()
  if (specifier.startsWith('.') || isAbsolute(specifier)) {
    return import(pathToFileURL(resolve(dirname(configFile), specifier)).href)
  }
  const parentURL = pathToFileURL(configFile).href
  const hooks = registerHooks({
    resolve: (wanted, context, next) =>
      next(wanted, wanted === specifier ? { ...context, parentURL } : context),
  })
  try {
    return await import(specifier)
  } finally {
    hooks.deregister()
  }
}
