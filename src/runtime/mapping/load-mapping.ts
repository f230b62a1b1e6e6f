/** The mapping of a config: read, checked, and read again when somebody asks. */
import { setTimeout as delay } from 'node:timers/promises'
import { ConfigError, CoreError } from '../../core/error.ts'
import { normalizeMapping } from '../../core/mapping/normalize.ts'
import type { NormalizedMapping, Place, PlacedMistake } from '../../core/mapping/normalized.ts'
import type { ConfigFile } from '../config/file.ts'
import { type DocumentMistakes, formatPath, InvalidConfigError } from '../config/format.ts'
import type { DocumentOptions, MappingOptions } from '../config/mapping-options.ts'
import type { Mistake } from '../config/mistakes.ts'
import {
  type DocumentContext,
  documentFaults,
  type DocumentName,
  type LoadedDocument,
  readDocument,
} from './document.ts'
import type { HttpClock } from './http-text.ts'
import type { Locate } from './mapped-tables.ts'
import type { PipelineMapping } from './pipeline-mapping.ts'

type Written = Pick<ConfigFile, 'shown' | 'locate'>

/** The parts of a config that say where its mapping is. */
export interface MappingConfig {
  readonly mapping: MappingOptions
  /** Absolute. */
  readonly file: string
  /** The config file as it was written; absent when there is none. */
  readonly written?: Written
}

/** Mistakes in the config file itself, and those of documents that belong to it. */
export interface LocalMistakes {
  readonly own: readonly Mistake[]
  readonly others: readonly DocumentMistakes[]
}

interface Documents {
  readonly schema: LoadedDocument | null
  readonly tables: LoadedDocument | null
}

const NAMES = ['schema', 'tables'] as const

export const systemClock: HttpClock = {
  now: () => performance.now(),
  wait: (milliseconds, signal) => delay(milliseconds, undefined, { signal }),
}

/** Reads the documents of a mapping, now and again. */
export class MappingLoader {
  #config: MappingConfig
  readonly #reread: (() => Promise<MappingConfig | null>) | null
  readonly #clock: HttpClock
  #known: Documents = { schema: null, tables: null }

  /** `reread` reads the config file again, which may hold another mapping; null when it holds none any more. */
  constructor(
    config: MappingConfig,
    reread: (() => Promise<MappingConfig | null>) | null = null,
    clock: HttpClock = systemClock,
  ) {
    this.#config = config
    this.#reread = reread
    this.#clock = clock
  }

  /** Throws `CoreError`; `InvalidConfigError` with everything that is wrong with the documents. */
  async load(signal: AbortSignal): Promise<PipelineMapping> {
    this.#known = await this.#read(signal)
    const { mapping, file } = this.#config
    const tables = normalized(this.#known, this.#config)
    return {
      tables,
      locate: locator(this.#known, this.#config.written ?? { shown: file, locate: () => null }),
      breaking: mapping.breaking,
      reload: { load: (again) => this.#reload(again), everyMs: mapping.poll ?? null },
    }
  }

  async #reload(signal: AbortSignal): Promise<PipelineMapping | null> {
    const before = this.#config
    const known = this.#known
    if (this.#reread !== null) {
      const config = await this.#reread()
      if (config === null) {
        throw new ConfigError('mapping/gone', 'the config has no `mapping` any more', {
          fix: 'Put it back; without one the pipeline has to begin anew under another name.',
        })
      }
      this.#config = config
    }
    try {
      const loaded = await this.load(signal)
      const isSame = NAMES.every((name) => this.#known[name]?.text === known[name]?.text)
      return isSame && before.mapping.breaking === loaded.breaking ? null : loaded
    } catch (error) {
      // What could not be taken is looked at again next time.
      this.#config = before
      this.#known = known
      throw error
    }
  }

  async #read(signal: AbortSignal): Promise<Documents> {
    const { mapping, file } = this.#config
    const context: DocumentContext = { configFile: file, clock: this.#clock, signal }
    const one = (name: DocumentName): Promise<LoadedDocument | null> =>
      mapping[name] === undefined
        ? Promise.resolve(null)
        : readDocument(mapping[name], name, context, this.#known[name])
    const [schema, tables] = await Promise.all([one('schema'), one('tables')])
    return { schema, tables }
  }
}

/**
 * What is wrong with the mapping as far as it can be said without asking a server: for the list of all mistakes of a
 * config.
 */
export async function localMistakes(mapping: MappingOptions, configFile: string): Promise<LocalMistakes> {
  const own: Mistake[] = []
  if (mapping.schema === undefined && mapping.tables === undefined)
    own.push({ path: ['mapping'], reason: 'needs schema, tables or both' })
  for (const name of NAMES) if (mapping[name] !== undefined) own.push(...documentFaults(mapping[name], name))
  if (own.length > 0) return { own, others: [] }
  const context = { configFile, clock: systemClock, signal: new AbortController().signal }
  const documents: { schema: LoadedDocument | null; tables: LoadedDocument | null } = {
    schema: null,
    tables: null,
  }
  for (const name of NAMES) {
    const options = mapping[name]
    if (options === undefined || isRemote(options)) continue
    try {
      documents[name] = await readDocument(options, name, context)
    } catch (error) {
      if (!(error instanceof CoreError)) throw error
      const key = options.file === undefined ? 'inline' : 'file'
      own.push({ path: ['mapping', name, key], reason: error.message })
    }
  }
  // The one may say what the other means.
  if (own.length > 0 || NAMES.some((name) => mapping[name] !== undefined && isRemote(mapping[name])))
    return { own, others: [] }
  const { mistakes } = normalizeMapping(inputOf(documents))
  return mistakes === null ? { own, others: [] } : split(mistakes, documents)
}

function isRemote({ url }: DocumentOptions): boolean {
  return url !== undefined
}

function normalized(documents: Documents, { file, written }: MappingConfig): NormalizedMapping {
  const { mapping, mistakes } = normalizeMapping(inputOf(documents))
  if (mapping !== null) return mapping
  const { own, others } = split(mistakes, documents)
  const [first] = others
  // Without the config file there is nothing to say about it.
  if (own.length === 0 && others.length === 1) throw new InvalidConfigError(first!.document, first!.mistakes)
  throw new InvalidConfigError(written ?? { shown: file, locate: () => null }, own, others)
}

function inputOf({ schema, tables }: Documents) {
  return { schema: schema?.value ?? null, mappings: tables?.value ?? null }
}

/** Mistakes of what is in the config file, and those of other documents. */
function split(
  mistakes: readonly PlacedMistake[],
  documents: Documents,
): { readonly own: readonly Mistake[]; readonly others: readonly DocumentMistakes[] } {
  const own: Mistake[] = []
  const others = new Map<LoadedDocument, Mistake[]>()
  for (const { document: name, path, reason } of mistakes) {
    const document = documentOf(documents, name)
    if (document === null) own.push({ path: ['mapping', name === 'schema' ? 'schema' : 'tables'], reason })
    else if (document.inline !== null) own.push({ path: [...document.inline, ...path], reason })
    else others.set(document, [...(others.get(document) ?? []), { path, reason }])
  }
  return { own, others: [...others].map(([document, found]) => ({ document, mistakes: found })) }
}

function documentOf({ schema, tables }: Documents, name: Place['document']): LoadedDocument | null {
  return name === 'schema' ? schema : (tables ?? schema)
}

/** `tables.yaml:3:5 orders.fields.id`. */
function locator(documents: Documents, written: Written): Locate {
  return ({ document: name, path }) => {
    const document = documentOf(documents, name)
    const inline = document?.inline ?? null
    const full = [...(inline ?? []), ...path]
    const file = inline === null ? (document ?? written) : written
    const location = file.locate(full, false)
    const where = location === null ? file.shown : `${file.shown}:${location.line}:${location.column}`
    return `${where} ${formatPath(full)}`.trim()
  }
}
