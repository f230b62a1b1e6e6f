import { readFile } from 'node:fs/promises'
import { extname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
} from 'yaml'
import { ConfigError } from '../../core/error.ts'
import type { Path } from './mistakes.ts'

/** Counted from 1. */
export interface Location {
  readonly line: number
  readonly column: number
}

/** A config file as it was written: nothing is replaced or decoded yet. */
export interface ConfigFile {
  /** Absolute. */
  readonly path: string
  /** As the user wrote it, for messages. */
  readonly shown: string
  readonly value: unknown
  /** Where an option stands, or the nearest group around it; null when the format does not say (TypeScript). */
  locate(path: Path, atKey: boolean): Location | null
}

/** Reads YAML, JSON, TypeScript or JavaScript. Throws `ConfigError` with file, line and column of a syntax mistake. */
export async function readConfigFile(shown: string): Promise<ConfigFile> {
  const path = resolve(shown)
  switch (extname(path)) {
    case '.yaml':
    case '.yml':
      return parse(path, shown, await read(path, shown), 'YAML')
    case '.json':
      return parse(path, shown, await read(path, shown), 'JSON')
    case '.ts':
    case '.mts':
    case '.js':
    case '.mjs':
      await read(path, shown)
      return { path, shown, value: await importValue(path, shown), locate: () => null }
    default:
      throw new ConfigError('config/file-type', `${shown} is not a kind of config file that is known`, {
        fix: 'Use a name that ends with .yaml, .yml, .json, .ts, .mts, .js or .mjs.',
      })
  }
}

async function read(path: string, shown: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code
    const missing = code === 'ENOENT' || code === 'ENOTDIR'
    const message = missing
      ? `${shown} does not exist`
      : `${shown} cannot be read (${code ?? 'unknown reason'})`
    const fix = missing
      ? `Check the path; it was looked for at ${path}.`
      : 'Check the permissions of the file.'
    throw new ConfigError(missing ? 'config/file-missing' : 'config/file-unreadable', message, { cause, fix })
  }
}

/** A text of JSON or YAML that was parsed, whatever it came from. */
export type ParsedText = Pick<ConfigFile, 'shown' | 'value' | 'locate'>

function parse(path: string, shown: string, text: string, format: 'YAML' | 'JSON'): ConfigFile {
  return { path, ...parseText(shown, text, format) }
}

/**
 * JSON is read by the YAML parser too (it is a subset), strictly as JSON types: that gives positions for both. Throws
 * `ConfigError` with line and column of a syntax mistake.
 */
export function parseText(shown: string, text: string, format: 'YAML' | 'JSON'): ParsedText {
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    // The pretty form quotes the line, which may hold a secret.
    prettyErrors: false,
    ...(format === 'JSON' ? { schema: 'json' } : { merge: true }),
  })
  const error = document.errors[0]
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0])
    throw syntaxError(`${shown}:${line}:${col}`, format, error.message)
  }
  return {
    shown,
    value: toValue(document, shown, format),
    locate: (at, atKey) => {
      const offset = offsetOf(document, at, atKey)
      if (offset === null) return null
      const { line, col } = lines.linePos(offset)
      return { line, column: col }
    },
  }
}

function toValue(document: Document, shown: string, format: string): unknown {
  try {
    return document.toJS()
  } catch (cause) {
    // Aliases without an anchor, and aliases that would unfold to an absurd size.
    throw syntaxError(shown, format, cause instanceof Error ? cause.message : 'unknown reason')
  }
}

function syntaxError(where: string, format: string, reason: string): ConfigError {
  // What the parser quotes from the file may hold a secret.
  const safe = reason.replace(/\s*"[^]*"/, '')
  return new ConfigError('config/syntax', `${where}: this is not valid ${format}: ${safe}`, {
    fix: `Correct the ${format} at that place.`,
  })
}

/** Follows keys as far as they exist: for an option that is missing, the place is the group that misses it. */
function offsetOf(document: Document, path: Path, atKey: boolean): number | null {
  let node: unknown = document.contents
  let offset: number | null = isNode(node) ? start(node) : null
  for (const [depth, key] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find(
        (item) => String(isScalar(item.key) ? item.key.value : item.key) === String(key),
      )
      if (pair === undefined) return offset
      const last = depth === path.length - 1
      const shownNode = last && !atKey && isScalar(pair.value) && pair.value.range ? pair.value : pair.key
      offset = isNode(shownNode) ? start(shownNode) : offset
      node = pair.value
    } else if (isSeq(node)) {
      node = node.items[Number(key)]
      if (!isNode(node)) return offset
      offset = start(node)
    } else {
      return offset
    }
  }
  return offset
}

function start(node: Node): number | null {
  return node.range?.[0] ?? null
}

async function importValue(path: string, shown: string): Promise<unknown> {
  let module: { readonly default?: unknown }
  try {
    module = (await import(pathToFileURL(path).href)) as { readonly default?: unknown }
  } catch (cause) {
    const reason =
      cause instanceof Error ? `${cause.name}: ${cause.message.split('\n')[0]}` : 'unknown reason'
    throw new ConfigError('config/import-failed', `${shown} failed while it was loaded: ${reason}`, {
      cause,
      fix: 'Run the file on its own with node to see where it fails.',
    })
  }
  if (module.default !== undefined) return module.default
  throw new ConfigError('config/no-default-export', `${shown} exports no config`, {
    fix: 'Write `export default defineConfig({ ... })`.',
  })
}
