import { UnsupportedSinkError, UnsupportedSourceError } from './error.ts'
import type { ConfigSchema } from './fields.ts'
import { closest } from './closest.ts'
import type { Sink } from './sink.ts'
import type { Source } from './source.ts'

/** What a connector exports: light enough to load for help and schema, the driver comes with `load`. */
export interface Connector<Instance, Config, Input = unknown> {
  readonly type: string
  /** One line for `sluice connectors`. */
  readonly summary: string
  readonly config: ConfigSchema<Config, Input>
  /** Imports the driver; called only for connectors in use. */
  load(): Promise<(config: Config) => Instance>
}

/** A connector whose type of config the registry does not know. */
export interface AnyConnector<Instance> {
  readonly type: string
  readonly summary: string
  readonly config: ConfigSchema<unknown>
  load(): Promise<(config: never) => Instance>
}

/** Ties the type of the config to the connector. */
export function defineSource<const Type extends string, Config, Input>(
  connector: Connector<Source, Config, Input> & { readonly type: Type },
): Connector<Source, Config, Input> & { readonly type: Type } {
  return connector
}

/** Ties the type of the config to the connector. */
export function defineSink<const Type extends string, Config, Input>(
  connector: Connector<Sink, Config, Input> & { readonly type: Type },
): Connector<Sink, Config, Input> & { readonly type: Type } {
  return connector
}

/** Connectors by type string. Third-party packages register the same way as ours. */
export class Registry<Instance> {
  readonly #kind: 'source' | 'sink'
  readonly #connectors = new Map<string, AnyConnector<Instance>>()

  constructor(kind: 'source' | 'sink', connectors: readonly AnyConnector<Instance>[] = []) {
    this.#kind = kind
    for (const connector of connectors) this.register(connector)
  }

  register(connector: AnyConnector<Instance>): void {
    this.#connectors.set(connector.type, connector)
  }

  get types(): readonly string[] {
    return [...this.#connectors.keys()].sort()
  }

  get connectors(): readonly AnyConnector<Instance>[] {
    return [...this.#connectors.values()]
  }

  /** Throws `UnsupportedSourceError` or `UnsupportedSinkError` with the known types and the nearest one. */
  get(type: string): AnyConnector<Instance> {
    const connector = this.#connectors.get(type)
    if (connector !== undefined) return connector
    const near = closest(type, this.types)
    const message = `unknown ${this.#kind} "${type}"${near === null ? '' : `, did you mean "${near}"?`}`
    const fix = `Known ${this.#kind}s: ${this.types.join(', ')}.`
    if (this.#kind === 'source') throw new UnsupportedSourceError('config/unknown-source', message, { fix })
    throw new UnsupportedSinkError('config/unknown-sink', message, { fix })
  }
}
