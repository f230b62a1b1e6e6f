/** Where the Zero schema of the clients is had from: a file, a module, an address, or the configuration itself. */
import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ConfigError } from '../../../core/error.ts'
import type { Secret } from '../../../core/secret.ts'
import { wantedTables, type WantedTables } from './schema.ts'
import { type FetchContext, fetchText } from './schema-fetch.ts'

/** One of `file`, `url` and `inline`. */
export interface SchemaOptions {
  /** JSON, or a module of JavaScript or TypeScript that exports `schema`; from the working directory. */
  readonly file?: string
  readonly url?: string
  /** Sent as a bearer token to `url`. */
  readonly token?: Secret
  /** Of one request, in milliseconds. */
  readonly timeout: number
  /** How long a server that does not answer, or is out of order, is asked again; milliseconds. */
  readonly retryFor: number
  readonly maxSize: number
  readonly inline?: unknown
}

const MODULE = /\.[cm]?[jt]s$/

/** Gets the schema and reads it. Throws `CoreError`; never goes on without a schema. */
export async function loadSchema(options: SchemaOptions, context: FetchContext): Promise<WantedTables> {
  const { file, url, inline } = options
  if ([file, url, inline].filter((way) => way !== undefined).length !== 1) {
    throw new ConfigError(
      'zero/schema-options',
      '`schema` needs one of `file`, `url` and `inline`, and only one',
      {
        fix: 'Leave one, which says where the Zero schema is.',
      },
    )
  }
  if (inline !== undefined) return wantedTables(inline, '`schema.inline`')
  if (url !== undefined) {
    const { shown, text } = await fetchText(url, options, context)
    return wantedTables(parse(text, shown), shown)
  }
  const name = `the schema file ${file}`
  const path = resolve(file!)
  if (MODULE.test(path)) return wantedTables(await importSchema(path, name), name)
  return wantedTables(parse(await readText(path, name, options.maxSize), name), name)
}

function parse(text: string, name: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new ConfigError('zero/schema-malformed', `${name} is not JSON`, {
      fix: 'Write the JSON of what createSchema of @rocicorp/zero returns.',
    })
  }
}

async function readText(path: string, name: string, maxSize: number): Promise<string> {
  try {
    const { size } = await stat(path)
    if (size <= maxSize) return await readFile(path, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown'
    throw new ConfigError('zero/schema-unreadable', `${name} cannot be read (${code})`, {
      fix: 'Check the path in `schema.file` and the rights on it.',
      cause: error,
    })
  }
  throw new ConfigError('zero/schema-too-large', `${name} is larger than ${maxSize} bytes`, {
    fix: 'Look whether it is the right file, or raise `schema.maxSize`.',
  })
}

async function importSchema(path: string, name: string): Promise<unknown> {
  let module: Readonly<Record<string, unknown>>
  try {
    module = (await import(pathToFileURL(path).href)) as typeof module
  } catch (error) {
    // What the module itself throws may hold anything.
    const { code, name: kind, message } = error as NodeJS.ErrnoException
    const isLoader = code?.startsWith('ERR_') === true || error instanceof SyntaxError
    throw new ConfigError(
      'zero/schema-unreadable',
      `${name} cannot be loaded: ${isLoader ? message.split('\n', 1)[0] : (code ?? kind)}`,
      {
        fix: 'Run it with `node` to see why. Node only takes the types away: no enums, and imports with their endings.',
        cause: error,
      },
    )
  }
  const { schema, default: byDefault } = module
  if (schema !== undefined) return schema
  const inside = (byDefault as { readonly schema?: unknown } | null | undefined)?.schema
  if (inside !== undefined) return inside
  if (byDefault !== undefined) return byDefault
  throw new ConfigError('zero/schema-malformed', `${name} exports neither \`schema\` nor a default`, {
    fix: 'Write `export const schema = createSchema({...})`.',
  })
}
