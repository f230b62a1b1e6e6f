/** From environment variables to the very same config that a pipeline file gives. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { closest } from '../core/closest.ts'
import { builtInConnectors } from '../runtime/config/connectors.ts'
import { decode, decodeConfig } from '../runtime/config/decode.ts'
import type { Environment } from '../runtime/config/expand.ts'
import { InvalidConfigError } from '../runtime/config/format.ts'
import type { LoadedConfig } from '../runtime/config/load.ts'
import { MappingOptions } from '../runtime/config/mapping-options.ts'
import type { Mistake, Path } from '../runtime/config/mistakes.ts'
import { localMistakes } from '../runtime/mapping/load-mapping.ts'
import { type Variable, type VariableName, variables } from './zero-source-variables.ts'

type Group = { [key: string]: string | number | boolean | Group }

interface Read {
  /** As a config file would hold it. */
  readonly config: Group
  /** Paths are names of variables. */
  readonly mistakes: readonly Mistake[]
}

const PAIRS = [
  ['SCHEMA_FILE', 'SCHEMA_URL', 'SCHEMA_TOKEN'],
  ['TABLE_MAPPINGS_FILE', 'TABLE_MAPPINGS_URL', 'TABLE_MAPPINGS_TOKEN'],
] as const

const WRITTEN = { shown: 'the environment', locate: () => null }
const NONE = { own: [], others: [] }
const FIX = 'Correct what is listed; docs/zero-source.md describes every variable.'

export const processEnvironment: Environment = {
  variables: process.env,
  readFile: (path) => readFileSync(path, 'utf8'),
}

/** Throws `InvalidConfigError` with all mistakes, each under the name of its variable. Connects to nothing. */
export async function zeroSourceConfig(environment: Environment): Promise<LoadedConfig> {
  const { config, mistakes } = readVariables(environment, false)
  const decoded = decodeConfig(config, builtInConnectors())
  const file = resolve('zero-source')
  const mapping = decode(MappingOptions, config['mapping'], ['mapping'])
  const { own, others } = mapping.ok ? await localMistakes(mapping.value, file) : NONE
  const known = new Set(mistakes.map(({ path }) => path[0]))
  const found = [...(decoded.ok ? [] : decoded.mistakes), ...own]
    .map(inVariables)
    .filter(({ path }) => !known.has(path[0]!))
  const all = distinct([...mistakes, ...found])
  if (decoded.ok && all.length + others.length === 0) return { ...decoded.value, file, written: WRITTEN }
  throw new InvalidConfigError(WRITTEN, all, others, FIX)
}

/** The config file that does the same, with placeholders for secrets. Throws as `zeroSourceConfig` does. */
export async function zeroSourceTemplate(environment: Environment): Promise<Group> {
  await zeroSourceConfig(environment)
  return readVariables(environment, true).config
}

function readVariables(environment: Environment, asTemplate: boolean): Read {
  const mistakes: Mistake[] = []
  const wrong = (name: VariableName, reason: string): void => {
    mistakes.push({ path: [name], reason })
  }
  const values = new Map<VariableName, string>()
  for (const variable of variables as readonly (Variable & { name: VariableName })[]) {
    const { name, choices, standard } = variable
    const text = textOf(variable, environment, (reason) => wrong(name, reason)) ?? standard
    if (text === undefined) continue
    if (choices !== undefined && !choices.includes(text)) wrong(name, notOneOf(text, choices))
    else values.set(name, text)
  }
  choose(values, wrong)
  if (!values.has('MONGODB_URI')) wrong('MONGODB_URI', `is required${similar('MONGODB_URI', environment)}`)
  if (environment.variables['CONFIG_FILE'])
    mistakes.push({
      path: ['CONFIG_FILE'],
      reason: 'is not read; set the variables, or write a pipeline file (see --print-config)',
    })
  return { config: configOf(values, asTemplate), mistakes }
}

/** What is set to nothing is not set: a compose file passes on what is not there that way. */
function textOf(
  { name, secret }: Variable,
  { variables: given, readFile }: Environment,
  wrong: (reason: string) => void,
): string | undefined {
  const text = given[name]
  if (text !== undefined && text !== '') return text
  const file = secret === true ? given[`${name}_FILE`] : undefined
  if (file === undefined || file === '') return undefined
  try {
    return readFile(file).replace(/\r?\n$/, '')
  } catch {
    wrong(`needs the file that ${name}_FILE names, which cannot be read`)
    return undefined
  }
}

/** Leaves one of each pair. */
function choose(
  values: Map<VariableName, string>,
  wrong: (name: VariableName, reason: string) => void,
): void {
  const chosen = values.get('SCHEMA_SOURCE')
  for (const [file, url, token] of PAIRS) {
    if (chosen !== undefined && values.has(file) && values.has(url))
      values.delete(chosen === 'file' ? url : file)
    if (values.has(file) && values.has(url))
      wrong(file, `is set and ${url} too; keep one, or say which in SCHEMA_SOURCE`)
    if (values.has(token) && !values.has(url)) {
      if (chosen === undefined) wrong(token, `is for ${url}, which is not set`)
      values.delete(token)
    }
  }
  if (chosen === 'file' && !values.has('SCHEMA_FILE'))
    wrong('SCHEMA_FILE', 'is required by SCHEMA_SOURCE=file')
  else if (chosen === 'url' && !values.has('SCHEMA_URL'))
    wrong('SCHEMA_URL', 'is required by SCHEMA_SOURCE=url')
  else if (!values.has('SCHEMA_FILE') && !values.has('SCHEMA_URL'))
    wrong('SCHEMA_FILE', 'is required, or SCHEMA_URL')
  const permissions = ['ZERO_PERMISSIONS', 'ZERO_PERMISSIONS_FILE'] as const
  if (permissions.every((name) => values.has(name)))
    wrong('ZERO_PERMISSIONS_FILE', 'is set and ZERO_PERMISSIONS too; keep one')
  if (values.has('ZERO_AUTH_TOKEN')) return
  // Nobody had to say anything to let everybody in, and what was printed must go on to work; the log warns of it.
  if (!values.has('ZERO_AUTH_ANONYMOUS')) values.set('ZERO_AUTH_ANONYMOUS', 'true')
  if (values.get('ZERO_AUTH_ANONYMOUS') === 'false' && !/^(127\.|localhost$|::1$)/.test(values.get('HOST')!))
    wrong('ZERO_AUTH_TOKEN', 'is required by ZERO_AUTH_ANONYMOUS=false')
}

function configOf(values: ReadonlyMap<VariableName, string>, asTemplate: boolean): Group {
  const config: Group = {}
  put(config, ['name'], '')
  put(config, ['source', 'type'], 'mongodb')
  put(config, ['sinks', 'zero', 'type'], 'zero')
  for (const { name, path, secret } of variables as readonly (Variable & { name: VariableName })[]) {
    const text = values.get(name)
    if (text === undefined || path === null) continue
    put(config, path, valueOf(name, text, secret === true, asTemplate))
  }
  for (const [, url] of PAIRS) {
    const retryFor = values.get('MAPPING_RETRY_FOR')
    const [option, part] = pathOf(url)
    if (retryFor !== undefined && values.has(url))
      put(config, [option!, part!, 'retryFor'], literal(retryFor, asTemplate))
  }
  // Beside the log, so that one folder has everything.
  put(config, ['checkpoint', 'path'], literal(`${values.get('WATERMARK_DB_PATH')!}-checkpoint`, asTemplate))
  return config
}

function valueOf(
  name: string,
  text: string,
  isSecret: boolean,
  asTemplate: boolean,
): string | number | boolean {
  if (isSecret && asTemplate) return `\${${name}}`
  if (text === 'true' || text === 'false') return text === 'true'
  if (name === 'PORT' && /^\d+$/.test(text)) return Number(text)
  return literal(text, asTemplate)
}

/** A config file would take `${` for a placeholder. */
function literal(text: string, asTemplate: boolean): string {
  return asTemplate ? text.replaceAll('${', () => '$${') : text
}

function put(group: Group, [key, ...rest]: readonly string[], value: string | number | boolean): void {
  if (rest.length === 0) {
    group[key!] = value
    return
  }
  const inner = group[key!]
  const next: Group = typeof inner === 'object' ? inner : {}
  group[key!] = next
  put(next, rest, value)
}

function pathOf(name: VariableName): readonly string[] {
  return variables.find((variable) => variable.name === name)!.path ?? []
}

/** One text may be a mistake in several places. */
function distinct(mistakes: readonly Mistake[]): readonly Mistake[] {
  return [...new Map(mistakes.map((mistake) => [JSON.stringify(mistake), mistake])).values()]
}

/** A mistake of the config under the name of the variable that it came from. */
function inVariables(mistake: Mistake): Mistake {
  if (mistake.path.at(-1) === 'retryFor') return { path: ['MAPPING_RETRY_FOR'], reason: mistake.reason }
  const all = variables as readonly Variable[]
  const owner =
    all.find(({ path }) => path !== null && isUnder(mistake.path, path)) ??
    all.find(({ path }) => path !== null && isUnder(path, mistake.path))
  return owner === undefined ? mistake : { path: [owner.name], reason: mistake.reason }
}

function isUnder(path: Path, of: Path): boolean {
  return of.every((key, index) => path[index] === key)
}

function notOneOf(text: string, choices: readonly string[]): string {
  const near = closest(text, choices)
  const hint = near === null ? '' : `; did you mean "${near}"?`
  const supported = choices.length === 1 ? choices[0]! : choices.join(', ')
  return `is set to something that is not supported; supported: ${supported}${hint}`
}

/** A name that is nearly the one which is missing. */
function similar(name: string, { variables: given }: Environment): string {
  const near = closest(
    name,
    Object.keys(given).filter((other) => other.startsWith('MONGO')),
  )
  return near === null || near === name ? '' : `; ${near} is set, was that meant?`
}
