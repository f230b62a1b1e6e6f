import type * as sinks from '../../connectors/sinks/index.ts'
import type * as sources from '../../connectors/sources/index.ts'
import type { ConfigSchema } from '../../core/fields.ts'
import type { EnvelopeInput } from './envelope.ts'

/** `type` and options of each connector of a registry module, as the user writes them. */
type OptionsOf<Module> = {
  [Name in keyof Module]: Module[Name] extends {
    readonly type: infer Type extends string
    readonly config: ConfigSchema<unknown, infer Input>
  }
    ? { readonly type: Type } & Input
    : never
}[keyof Module]

declare const isThirdParty: unique symbol

/** Options of a connector that does not come with Sluice; see `thirdParty`. */
export interface ThirdPartyOptions {
  readonly type: string
  readonly [isThirdParty]: true
}

export type SourceOptions = OptionsOf<typeof sources> | ThirdPartyOptions
export type SinkOptions = OptionsOf<typeof sinks> | ThirdPartyOptions

/** What a config file holds, as it is written. */
export interface Config extends Omit<EnvelopeInput, 'source' | 'sinks'> {
  readonly source: SourceOptions
  readonly sinks: Readonly<Record<string, SinkOptions>>
}

/**
 * Checks a config at the place of the mistake while it is written. `${VAR}` works in every text, as in YAML.
 *
 * ```ts
 * export default defineConfig({
 *   name: 'shop',
 *   source: { type: 'postgres', url: '${PG_URL}' },
 *   sinks: { lake: { type: 'clickhouse', url: '${CLICKHOUSE_URL}' } },
 * })
 * ```
 */
export function defineConfig(config: Config): Config {
  return config
}

/** Options of a connector that `connectors` brings: checked when the config is loaded, not by the compiler. */
export function thirdParty(options: {
  readonly type: string
  readonly [option: string]: unknown
}): ThirdPartyOptions {
  return options as unknown as ThirdPartyOptions
}
