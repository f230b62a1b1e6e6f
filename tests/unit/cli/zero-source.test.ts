/** `sluice zero-source`: the environment variables of the earlier server become a pipeline. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { zeroSourceConfig, zeroSourceTemplate } from '../../../src/cli/zero-source-config.ts'
import { variables } from '../../../src/cli/zero-source-variables.ts'
import { Secret } from '../../../src/core/secret.ts'
import { InvalidConfigError } from '../../../src/runtime/config/format.ts'
import { loadConfig } from '../../../src/runtime/config/load.ts'

type Variables = Readonly<Record<string, string | undefined>>

const main = resolve('src/cli/main.ts')

let folder: string
/** As little as there may be. */
let least: Record<string, string>
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-zero-source-'))
  const schema = {
    message: {
      tableName: 'message',
      columns: { id: { type: 'string' }, content: { type: 'string' }, createdAt: { type: 'number' } },
      primaryKey: ['id'],
    },
  }
  const mappings = {
    message: { collection: 'messages', fields: { id: '_id', content: 'content', createdAt: 'timestamp' } },
  }
  writeFileSync(join(folder, 'schema.json'), JSON.stringify(schema))
  writeFileSync(join(folder, 'mappings.json'), JSON.stringify(mappings))
  least = {
    MONGODB_URI: 'mongodb://someone:hidden@db:27017/shop',
    SCHEMA_FILE: join(folder, 'schema.json'),
    TABLE_MAPPINGS_FILE: join(folder, 'mappings.json'),
    ZERO_AUTH_TOKEN: 'token-of-zero',
  }
})
afterAll(() => rmSync(folder, { recursive: true }))

const environment = (given: Variables) => ({
  variables: given,
  readFile: (path: string) => readFileSync(path, 'utf8'),
})

/** Secrets as their text, functions left out: what two configs have to have in common. */
function plain(value: unknown): unknown {
  if (value instanceof Secret) return { secret: value.reveal() }
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return typeof value === 'function' ? undefined : value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
}

async function config(given: Variables): Promise<Record<string, unknown>> {
  return plain(await zeroSourceConfig(environment(given))) as Record<string, unknown>
}

async function mistakes(given: Variables): Promise<readonly string[]> {
  try {
    await zeroSourceConfig(environment(given))
  } catch (error) {
    if (!(error instanceof InvalidConfigError)) throw error
    return error.mistakes.map(({ path, reason }) => `${path}: ${reason}`)
  }
  return []
}

describe('the environment of the earlier server', () => {
  it('is a pipeline from MongoDB to Zero, with the defaults that its documentation printed', async () => {
    expect(await config(least)).toMatchObject({
      name: 'zero-source',
      source: { connector: { type: 'mongodb' }, options: { url: { secret: least['MONGODB_URI'] } } },
      mapping: { schema: { file: least['SCHEMA_FILE'] }, tables: { file: least['TABLE_MAPPINGS_FILE'] } },
      sinks: [
        {
          name: 'zero',
          connector: { type: 'zero' },
          options: {
            path: './data/watermarks.db',
            port: 3000,
            host: '0.0.0.0',
            tokens: { 'zero-cache': { secret: 'token-of-zero' } },
            earlier: { watermarks: 'resume', window: 3_600_000 },
          },
        },
      ],
      checkpoint: { path: './data/watermarks.db-checkpoint' },
      file: resolve('zero-source'),
    })
  })

  it('takes what the compose file of the earlier server set', async () => {
    const { mapping, sinks, log } = await config({
      PORT: '8001',
      MONGODB_URI: 'mongodb://mongodb:27017/zrocket',
      LOG_LEVEL: 'debug',
      SCHEMA_SOURCE: 'url',
      SCHEMA_URL: 'http://zrocket:8011/api/schema/export',
      TABLE_MAPPINGS_URL: 'http://zrocket:8011/api/schema/table-mappings',
      ZERO_AUTH_ANONYMOUS: 'true',
    })
    expect({ mapping, sinks, log }).toMatchObject({
      mapping: {
        schema: { url: { secret: 'http://zrocket:8011/api/schema/export' } },
        tables: { url: { secret: 'http://zrocket:8011/api/schema/table-mappings' } },
      },
      sinks: [{ options: { port: 8001, anonymous: true } }],
      log: { level: 'debug' },
    })
  })

  it('may hold files and URLs at once when it says which count', async () => {
    const both = {
      ...least,
      SCHEMA_URL: 'http://a',
      TABLE_MAPPINGS_URL: 'http://b',
      SCHEMA_TOKEN: 'one',
      TABLE_MAPPINGS_TOKEN: 'two',
      MAPPING_RETRY_FOR: '2s',
    }
    expect(await config({ ...both, SCHEMA_SOURCE: 'url' })).toMatchObject({
      mapping: {
        schema: { url: { secret: 'http://a' }, token: { secret: 'one' }, retryFor: 2000 },
        tables: { url: { secret: 'http://b' }, token: { secret: 'two' }, retryFor: 2000 },
      },
    })
    expect(await mistakes({ ...least, SCHEMA_URL: 'http://a', TABLE_MAPPINGS_URL: 'http://b' })).toEqual([
      'SCHEMA_FILE: is set and SCHEMA_URL too; keep one, or say which in SCHEMA_SOURCE',
      'TABLE_MAPPINGS_FILE: is set and TABLE_MAPPINGS_URL too; keep one, or say which in SCHEMA_SOURCE',
    ])
    expect(await mistakes({ ...least, SCHEMA_SOURCE: 'url' })).toEqual([
      'SCHEMA_URL: is required by SCHEMA_SOURCE=url',
    ])
  })

  it('counts what is set to nothing as not set', async () => {
    expect(await config({ ...least, SCHEMA_URL: '', PORT: '', WATERMARK_STORAGE: '' })).toEqual(
      await config(least),
    )
  })

  it('reads secrets from the files that NAME_FILE names', async () => {
    writeFileSync(join(folder, 'uri'), 'mongodb://from-file/shop\n')
    const { MONGODB_URI: _, ...rest } = least
    expect(await config({ ...rest, MONGODB_URI_FILE: join(folder, 'uri') })).toMatchObject({
      source: { options: { url: { secret: 'mongodb://from-file/shop' } } },
    })
    expect(await mistakes({ ...rest, MONGODB_URI_FILE: join(folder, 'nothing') })).toContain(
      'MONGODB_URI: needs the file that MONGODB_URI_FILE names, which cannot be read',
    )
  })

  it('is refused with everything that is wrong, by the names of the variables', async () => {
    expect(
      await mistakes({
        MONGODB_URL: 'mongodb://db/shop',
        WATERMARK_STORAGE: 'nats-kv',
        PORT: '70000',
        LOG_LEVEL: 'verbose',
        WATERMARK_IMPORT_WINDOW: 'an hour',
        CONFIG_FILE: 'config.yml',
        ZERO_AUTH_ANONYMOUS: 'false',
        TABLE_MAPPINGS_TOKEN: 'x',
      }),
    ).toEqual([
      'WATERMARK_STORAGE: is set to something that is not supported; supported: zqlite',
      'LOG_LEVEL: is set to something that is not supported; supported: debug, info, warn, error',
      'TABLE_MAPPINGS_TOKEN: is for TABLE_MAPPINGS_URL, which is not set',
      'SCHEMA_FILE: is required, or SCHEMA_URL',
      'ZERO_AUTH_TOKEN: is required by ZERO_AUTH_ANONYMOUS=false',
      'MONGODB_URI: is required; MONGODB_URL is set, was that meant?',
      'CONFIG_FILE: is not read; set the variables, or write a pipeline file (see --print-config)',
      'PORT: must be a whole number, from 0 to 65535',
      expect.stringMatching(/^WATERMARK_IMPORT_WINDOW: must be a duration/),
    ])
  })

  it.each([
    ['PORT', 'http'],
    ['ZERO_PERMISSIONS', 'everything'],
    ['MONGODB_IMAGES', 'always'],
    ['MAPPING_POLL', '10 minutes and a bit'],
    ['PIPELINE_NAME', 'a name'],
  ])('says that %s cannot be %s', async (name, value) => {
    const found = await mistakes({ ...least, [name]: value })
    expect(found).toHaveLength(1)
    expect(found[0]).toMatch(new RegExp(`^${name}: `))
    expect(found[0]).not.toContain(value)
  })

  it('works as the documentation of the earlier server printed it, without a token', async () => {
    const { ZERO_AUTH_TOKEN: _, ...printed } = least
    expect(await mistakes(printed)).toEqual([])
    expect(await mistakes({ ...printed, ZERO_AUTH_ANONYMOUS: 'false' })).toHaveLength(1)
    expect(await mistakes({ ...printed, ZERO_AUTH_ANONYMOUS: 'false', HOST: '127.0.0.1' })).toEqual([])
  })
})

describe('the config file that does the same', () => {
  it('has no secret in it, and is the same pipeline', async () => {
    const given = {
      ...least,
      SCHEMA_SOURCE: 'file',
      SCHEMA_URL: 'https://user:hidden@schema',
      WATERMARK_DB_PATH: './${odd}/w.db',
      ZERO_PERMISSIONS: 'allow-all-select',
      MAPPING_BREAKING: 'apply',
      LOG_FORMAT: 'json',
    }
    const text = stringify(await zeroSourceTemplate(environment(given)))
    expect(text).not.toMatch(/hidden|token-of-zero/)
    const path = join(folder, 'pipeline.yaml')
    writeFileSync(path, text)
    const {
      file: _,
      written: _written,
      ...loaded
    } = plain(await loadConfig(path, environment(given))) as Record<string, unknown>
    const { file: __, written: _same, ...same } = await config(given)
    expect(loaded).toEqual(same)
  })
})

describe('sluice zero-source', () => {
  const run = (args: readonly string[], env: Variables) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((done) => {
      const options = { env: { PATH: process.env['PATH'], ...env } as NodeJS.ProcessEnv, cwd: folder }
      execFile(process.execPath, [main, 'zero-source', ...args], options, (error, stdout, stderr) =>
        done({ code: Number(error?.code ?? 0), stdout, stderr }),
      )
    })

  it('prints the config', async () => {
    const { code, stdout, stderr } = await run(['--print-config'], least)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('url: ${MONGODB_URI}')
  })

  it('ends with exit code 2 and the list when the environment has mistakes', async () => {
    const { code, stderr } = await run([], { ...least, WATERMARK_STORAGE: 'nats-kv' })
    expect(code).toBe(2)
    expect(stderr).toContain('error: the environment has a mistake\n  WATERMARK_STORAGE: ')
    expect(stderr).toContain('docs/zero-source.md')
  })

  it('names every variable in its help', async () => {
    const { stdout } = await run(['--help'], {})
    for (const { name } of variables) expect(stdout).toContain(`  ${name} `)
    expect(stdout).toMatch(/MONGODB_IMAGES .*\. One of auto, stored\./)
  })
})

describe('docs/zero-source.md', () => {
  it('has a row for every variable, and no other', () => {
    const text = readFileSync(resolve('docs/zero-source.md'), 'utf8')
    const rows = [...text.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1])
    expect(rows).toEqual(variables.map(({ name }) => name))
  })
})
