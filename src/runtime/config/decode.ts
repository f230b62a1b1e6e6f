import * as Schema from 'effect/Schema'
import { CoreError } from '../../core/error.ts'
import type { AnyConnector, Registry } from '../../core/registry.ts'
import type { Sink } from '../../core/sink.ts'
import type { Source } from '../../core/source.ts'
import type { Connectors } from './connectors.ts'
import { Envelope, isName } from './envelope.ts'
import { type Mistake, mistakesOf, type Path } from './mistakes.ts'

/** A connector and its decoded options, not loaded yet. */
export interface ChosenConnector<Instance> {
  readonly connector: AnyConnector<Instance>
  readonly options: unknown
}

/** A config without mistakes. */
export interface DecodedConfig extends Omit<Envelope, 'source' | 'sinks'> {
  readonly source: ChosenConnector<Source>
  readonly sinks: readonly (ChosenConnector<Sink> & { readonly name: string })[]
}

export type Decoded<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly mistakes: readonly Mistake[] }

/**
 * Decodes in two phases: what is common first, then the options of each connector by the schema of its `type`. (One
 * union of everything would answer a typing mistake with the forms of all connectors.) Finds the mistakes of all parts.
 */
export function decodeConfig(input: unknown, connectors: Connectors): Decoded<DecodedConfig> {
  const envelope = decode(Envelope, input, [])
  const group = isGroup(input) ? input : {}
  const source = decodeConnector(connectors.sources, group['source'], ['source'])
  const sinks = decodeSinks(connectors.sinks, group['sinks'])
  if (envelope.ok && source.ok && sinks.ok) {
    return { ok: true, value: { ...envelope.value, source: source.value, sinks: sinks.value } }
  }
  return failed([envelope, source, sinks].flatMap((part) => (part.ok ? [] : part.mistakes)))
}

/** Decodes one value, listing every mistake. Keys that the schema does not know are mistakes. */
export function decode<Value>(
  schema: Schema.Codec<Value, unknown, never, unknown>,
  input: unknown,
  at: Path,
): Decoded<Value> {
  const result = Schema.decodeUnknownResult(schema, { errors: 'all', onExcessProperty: 'error' })(input)
  return result._tag === 'Success'
    ? { ok: true, value: result.success }
    : failed(mistakesOf(result.failure.issue, input, at))
}

function decodeSinks(
  registry: Registry<Sink>,
  input: unknown,
): Decoded<readonly (ChosenConnector<Sink> & { readonly name: string })[]> {
  if (!isGroup(input)) return failed([])
  const entries = Object.entries(input)
  if (entries.length === 0) return failed([{ path: ['sinks'], reason: 'needs at least one sink' }])
  const mistakes: Mistake[] = []
  const sinks: (ChosenConnector<Sink> & { readonly name: string })[] = []
  for (const [name, options] of entries) {
    if (!isName(name)) {
      const reason = 'is not a name for a sink: use at most 40 characters of a-z, 0-9, _ and -'
      mistakes.push({ path: ['sinks', name], reason, atKey: true })
    }
    const sink = decodeConnector(registry, options, ['sinks', name])
    if (sink.ok) sinks.push({ name, ...sink.value })
    else mistakes.push(...sink.mistakes)
  }
  return mistakes.length === 0 ? { ok: true, value: sinks } : failed(mistakes)
}

function decodeConnector<Instance>(
  registry: Registry<Instance>,
  input: unknown,
  at: Path,
): Decoded<ChosenConnector<Instance>> {
  if (!isGroup(input)) return failed([])
  const { type, ...options } = input
  if (type === undefined) {
    return failed([{ path: [...at, 'type'], reason: `is required; known: ${registry.types.join(', ')}` }])
  }
  if (typeof type !== 'string') return failed([{ path: [...at, 'type'], reason: 'must be text' }])
  const connector = find(registry, type)
  if (typeof connector === 'string') return failed([{ path: [...at, 'type'], reason: connector }])
  const decoded = decode(connector.config, options, at)
  return decoded.ok ? { ok: true, value: { connector, options: decoded.value } } : decoded
}

/** The connector, or why there is none. */
function find<Instance>(registry: Registry<Instance>, type: string): AnyConnector<Instance> | string {
  try {
    return registry.get(type)
  } catch (error) {
    if (!(error instanceof CoreError)) throw error
    return `${error.message} (known: ${registry.types.join(', ')})`
  }
}

/** What is not one is reported with the envelope. */
function isGroup(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function failed(mistakes: readonly Mistake[]): { readonly ok: false; readonly mistakes: readonly Mistake[] } {
  return { ok: false, mistakes }
}
