/** Building blocks for the `config.ts` of a connector; the only file of core that imports a library. */
import type * as Schema from 'effect/Schema'

/** Decodes the options of a connector, and describes them for editors and docs. */
export type ConfigSchema<Config> = Schema.Decoder<Config>
