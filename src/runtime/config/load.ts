import { readFileSync } from 'node:fs'
import { builtInConnectors, type Connectors, registerThirdParty } from './connectors.ts'
import { decode, decodeConfig, type DecodedConfig } from './decode.ts'
import { type Environment, expand, isPlainObject } from './expand.ts'
import { type ConfigFile, readConfigFile } from './file.ts'
import { InvalidConfigError } from './format.ts'
import { MappingOptions } from './mapping-options.ts'
import type { LocalMistakes } from '../mapping/load-mapping.ts'

/** A config file that has no mistakes. */
export interface LoadedConfig extends DecodedConfig {
  /** Absolute path of the file; paths in it are relative to its folder. */
  readonly file: string
  /** The file as it was written, for mistakes that are found later. */
  readonly written?: Pick<ConfigFile, 'shown' | 'locate'>
}

const processEnvironment: Environment = {
  variables: process.env,
  readFile: (path) => readFileSync(path, 'utf8'),
}

/**
 * Reads, expands and decodes a config file. Throws `ConfigError`: one mistake for what cannot be read at all,
 * `InvalidConfigError` with the complete list otherwise. Connects to nothing and imports no driver.
 */
export async function loadConfig(
  path: string,
  environment: Environment = processEnvironment,
): Promise<LoadedConfig> {
  const file = await readConfigFile(path)
  const connectors = builtInConnectors()
  const expansion = expand(file.value, environment)
  const broken = await registerListed(connectors, expansion.value, file)
  const decoded = decodeConfig(expansion.value, connectors)
  const { own, others } = await mappingMistakes(expansion.value, file)
  if (decoded.ok && broken.length + expansion.mistakes.length + own.length + others.length === 0)
    return { ...decoded.value, file: file.path, written: file }
  // A text that could not be expanded is one mistake, not also one of form.
  const unexpanded = new Set(expansion.mistakes.map((mistake) => JSON.stringify(mistake.path)))
  const rest = decoded.ok
    ? []
    : decoded.mistakes.filter((mistake) => !unexpanded.has(JSON.stringify(mistake.path)))
  throw new InvalidConfigError(file, [...expansion.mistakes, ...broken, ...rest, ...own], others)
}

/** Of the documents that are at hand, also when something else is wrong. */
async function mappingMistakes(value: unknown, file: ConfigFile): Promise<LocalMistakes> {
  const mapping = isPlainObject(value) ? value['mapping'] : undefined
  const decoded = mapping === undefined ? null : decode(MappingOptions, mapping, ['mapping'])
  if (decoded?.ok !== true) return { own: [], others: [] }
  const { localMistakes } = await import('../mapping/load-mapping.ts')
  return await localMistakes(decoded.value, file.path)
}

/** The connectors that a config file can use: ours and those it lists. */
export async function connectorsOf(path: string): Promise<Connectors> {
  const file = await readConfigFile(path)
  const connectors = builtInConnectors()
  const broken = await registerListed(connectors, file.value, file)
  if (broken.length > 0) throw new InvalidConfigError(file, broken)
  return connectors
}

function registerListed(connectors: Connectors, value: unknown, file: ConfigFile) {
  const listed = isPlainObject(value) ? value['connectors'] : undefined
  return registerThirdParty(connectors, Array.isArray(listed) ? listed : [], file.path)
}
