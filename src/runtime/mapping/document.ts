/** Schema and table mappings as documents: from a file, a module, an address or the config itself. */
import { readFile, stat } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { dirname, extname, isAbsolute, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ConfigError } from '../../core/error.ts'
import type { Json } from '../../core/position.ts'
import { type ParsedText, parseText } from '../config/file.ts'
import type { DocumentOptions } from '../config/mapping-options.ts'
import type { Mistake } from '../config/mistakes.ts'
import { addressFault, fetchHttpText, type HttpClock, tokenFault, tooLarge } from './http-text.ts'

/** A document as it was read. */
export interface LoadedDocument extends Pick<ParsedText, 'shown' | 'locate'> {
  readonly value: Json
  /** The same as long as the document is. */
  readonly text: string
  readonly etag: string | null
  /** It stands in the config file, at this path. */
  readonly inline: readonly string[] | null
}

export interface DocumentContext {
  /** Of the config file; paths in it are relative to its folder. */
  readonly configFile: string
  readonly clock: HttpClock
  readonly signal: AbortSignal
}

const MODULE = /\.[cm]?[jt]s$/
const EXPORTS = { schema: ['schema'], tables: ['mappings', 'tables'] } as const

export type DocumentName = keyof typeof EXPORTS

/** What is wrong with the options themselves. */
export function documentFaults(options: DocumentOptions, name: DocumentName): readonly Mistake[] {
  const { file, url, inline, token, ca } = options
  const at = ['mapping', name]
  const ways = [file, url, inline].filter((way) => way !== undefined).length
  const mistakes: Mistake[] = []
  if (ways !== 1) mistakes.push({ path: at, reason: 'needs one of file, url and inline, and only one' })
  const fault = url === undefined ? null : addressFault(url.reveal())
  if (fault !== null) mistakes.push({ path: [...at, 'url'], reason: fault })
  for (const [key, value] of [
    ['token', token],
    ['ca', ca],
  ] as const)
    if (value !== undefined && url === undefined)
      mistakes.push({ path: [...at, key], reason: 'goes with url only' })
  const tokenIs = token === undefined ? null : tokenFault(token.reveal())
  if (tokenIs !== null) mistakes.push({ path: [...at, 'token'], reason: tokenIs })
  return mistakes
}

/** Reads one. Throws `CoreError`; `known` is what was read before, which is returned again when it is the same. */
export async function readDocument(
  options: DocumentOptions,
  name: DocumentName,
  context: DocumentContext,
  known: LoadedDocument | null = null,
): Promise<LoadedDocument> {
  const { file, url, inline } = options
  const [fault] = documentFaults(options, name)
  if (fault !== undefined) throw new ConfigError('mapping/options', `${fault.path.join('.')} ${fault.reason}`)
  if (inline !== undefined) return inlineDocument(inline, name)
  if (url !== undefined) return await fetchDocument(url.reveal(), options, name, context, known)
  return await fileDocument(file!, options, name, context)
}

function inlineDocument(value: Json, name: DocumentName): LoadedDocument {
  const inline = ['mapping', name, 'inline']
  return {
    shown: inline.join('.'),
    locate: () => null,
    value,
    text: JSON.stringify(value),
    etag: null,
    inline,
  }
}

async function fetchDocument(
  url: string,
  options: DocumentOptions,
  name: DocumentName,
  context: DocumentContext,
  known: LoadedDocument | null,
): Promise<LoadedDocument> {
  const { token, timeout, retryFor, maxSize, ca } = options
  const got = await fetchHttpText(
    url,
    {
      ...(token === undefined ? {} : { token }),
      ...(ca === undefined ? {} : { ca: await readAuthorities(ca, context.configFile, name) }),
      timeout,
      retryFor,
      maxSize,
      name: `mapping.${name}`,
    },
    known?.etag ?? null,
    context.clock,
    context.signal,
  )
  if (got.text === null || got.text === known?.text) return { ...known!, etag: got.etag }
  return {
    ...parsed(got.shown, got.text, formatOf(url, got.text)),
    text: got.text,
    etag: got.etag,
    inline: null,
  }
}

async function readAuthorities(ca: string, configFile: string, name: DocumentName): Promise<string> {
  try {
    const text = await readFile(resolve(dirname(configFile), ca), 'utf8')
    createSecureContext({ ca: text })
    if (text.includes('BEGIN CERTIFICATE')) return text
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown reason'
    throw new ConfigError('mapping/options', `\`mapping.${name}.ca\` cannot be used (${code})`, {
      cause,
      fix: 'Give a PEM file with certificates of authorities, which this process may read.',
    })
  }
  throw new ConfigError('mapping/options', `\`mapping.${name}.ca\` holds no certificate`, {
    fix: 'Give a PEM file with certificates of authorities.',
  })
}

async function fileDocument(
  file: string,
  { maxSize }: DocumentOptions,
  name: DocumentName,
  { configFile }: DocumentContext,
): Promise<LoadedDocument> {
  const path = resolve(dirname(configFile), file)
  const shown = isAbsolute(file) ? file : path
  if (MODULE.test(path)) {
    const value = await importDocument(path, file, name)
    return { shown: file, locate: () => null, value, text: JSON.stringify(value), etag: null, inline: null }
  }
  const format = { '.json': 'JSON', '.yaml': 'YAML', '.yml': 'YAML' }[extname(path)] as
    | 'JSON'
    | 'YAML'
    | undefined
  if (format === undefined)
    throw new ConfigError(
      'mapping/options',
      `\`mapping.${name}.file\` names ${file}, of which the kind is not known`,
      {
        fix: 'Use a name that ends with .json, .yaml, .yml, .ts, .mts, .js or .mjs.',
      },
    )
  try {
    const { size } = await stat(path)
    if (size > maxSize) throw tooLarge(file, maxSize, `mapping.${name}`)
    const text = await readFile(path, 'utf8')
    return { ...parsed(file, text, format), text, etag: null, inline: null }
  } catch (cause) {
    if (cause instanceof ConfigError) throw cause
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown reason'
    throw new ConfigError('mapping/file', `${file} cannot be read (${code})`, {
      cause,
      fix: `Check the path and the rights on it; it was looked for at ${shown}.`,
    })
  }
}

/** A module that was changed is another module, by its address. */
async function importDocument(path: string, file: string, name: DocumentName): Promise<Json> {
  let module: Readonly<Record<string, unknown>>
  try {
    const { mtimeMs } = await stat(path)
    module = (await import(`${pathToFileURL(path).href}?changed=${Math.round(mtimeMs)}`)) as typeof module
  } catch (cause) {
    // What the module itself throws may hold anything.
    const { code, name: kind } = cause as NodeJS.ErrnoException
    throw new ConfigError('mapping/file', `${file} cannot be loaded (${code ?? kind})`, {
      cause,
      fix: 'Run it with `node` to see why. Node only takes the types away: no enums, and imports with their endings.',
    })
  }
  const exported = [...EXPORTS[name], 'default']
    .map((key) => module[key])
    .find((value) => value !== undefined)
  if (exported === undefined)
    throw new ConfigError('mapping/file', `${file} exports neither \`${EXPORTS[name][0]}\` nor a default`, {
      fix: `Write \`export const ${EXPORTS[name][0]} = ...\`.`,
    })
  // What is no data, such as functions of a Zero schema, is left out.
  return JSON.parse(JSON.stringify(exported)) as Json
}

/** What a server calls JSON, or what looks like it, is JSON; all else is YAML. */
function formatOf(url: string, text: string): 'JSON' | 'YAML' {
  const ending = extname(new URL(url).pathname)
  if (ending === '.yaml' || ending === '.yml') return 'YAML'
  return ending === '.json' || /^\s*[{[]/.test(text) ? 'JSON' : 'YAML'
}

function parsed(shown: string, text: string, format: 'JSON' | 'YAML') {
  // What servers and proxies send in the place of a document, such as a page to log in.
  if (/^\s*</.test(text))
    throw new ConfigError('mapping/file', `${shown} is HTML or XML, and neither JSON nor YAML`, {
      fix: 'Look at what is there; the document may be at another address, or behind a login.',
    })
  const { value, locate } = parseText(shown, text, format)
  if (value === null || value === undefined)
    throw new ConfigError('mapping/file', `${shown} is empty`, {
      fix: 'Write the tables into it, see docs/mapping.md.',
    })
  return { shown, locate, value: value as Json }
}
