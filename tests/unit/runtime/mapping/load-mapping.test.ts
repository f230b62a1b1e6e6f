import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { inspect } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { CoreError } from '../../../../src/core/error.ts'
import { Secret } from '../../../../src/core/secret.ts'
import { buildPipeline } from '../../../../src/runtime/config/build.ts'
import { InvalidConfigError } from '../../../../src/runtime/config/format.ts'
import { loadConfig } from '../../../../src/runtime/config/load.ts'
import { fetchHttpText, type HttpOptions } from '../../../../src/runtime/mapping/http-text.ts'
import { MappingLoader } from '../../../../src/runtime/mapping/load-mapping.ts'
import { exitCodeOf } from '../../../../src/runtime/policy.ts'
import { Authority } from '../../../support/certificates.ts'

const SCHEMA = {
  users: {
    tableName: 'users',
    columns: { id: { type: 'string' }, name: { type: 'string' } },
    primaryKey: ['id'],
  },
}
const TABLES = { people: { collection: 'public.users', fields: { id: 'id' } } }

let folder: string
const servers: { close(): unknown; closeAllConnections(): void }[] = []

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-mapping-'))
})
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})
afterAll(() => {
  rmSync(folder, { recursive: true })
})

function write(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void

async function serve(
  handler: Handler,
  tls?: { readonly cert: Buffer; readonly key: Buffer },
): Promise<string> {
  const server = tls === undefined ? createServer(handler) : createTlsServer(tls, handler)
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  servers.push(server)
  return `http${tls === undefined ? '' : 's'}://127.0.0.1:${(server.address() as AddressInfo).port}/schema?token=hidden`
}

/** A clock that stands still but for waiting. */
function stillClock() {
  const waits: number[] = []
  let now = 0
  return {
    waits,
    now: () => now,
    wait: async (milliseconds: number) => {
      waits.push(milliseconds)
      now += milliseconds
    },
  }
}

const options: HttpOptions = { timeout: 5000, retryFor: 10_000, maxSize: 1000, name: 'mapping.schema' }

async function get(
  url: string,
  more: Partial<HttpOptions> = {},
  etag: string | null = null,
  clock = stillClock(),
) {
  return await fetchHttpText(url, { ...options, ...more }, etag, clock, new AbortController().signal)
}

async function failure(promise: Promise<unknown>): Promise<CoreError> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  )
  if (!(error instanceof CoreError)) throw new Error(`not a CoreError: ${inspect(error)}`)
  // Neither the query nor a token is in anything that is shown (L14).
  expect(inspect(error, { depth: 9 })).not.toMatch(/hidden|s3cret/)
  return error
}

describe('a document from a server', () => {
  it('is sent for with the token, and told with its tag', async () => {
    const seen: unknown[] = []
    const url = await serve((request, response) => {
      seen.push(request.headers.authorization, request.headers['if-none-match'])
      response.setHeader('etag', '"7"')
      if (request.headers['if-none-match'] === '"7"') response.writeHead(304).end()
      else response.end('{}')
    })
    const token = new Secret('s3cret')
    expect(await get(url, { token })).toEqual({ shown: url.replace(/\?.*/, ''), text: '{}', etag: '"7"' })
    expect(await get(url, { token }, '"7"')).toMatchObject({ text: null })
    expect(seen).toEqual(['Bearer s3cret', undefined, 'Bearer s3cret', '"7"'])
  })

  it('is asked for again while the server is out of order', async () => {
    let requests = 0
    const url = await serve((_request, response) => {
      if (++requests < 4)
        response.writeHead(requests === 2 ? 503 : 500, requests === 2 ? { 'retry-after': '3' } : {}).end()
      else response.end('[]')
    })
    const clock = stillClock()
    expect(await get(url, {}, null, clock)).toMatchObject({ text: '[]' })
    expect(clock.waits).toEqual([200, 3000, 800])
  })

  it('is given up after the stated time, with an exit code', async () => {
    const url = await serve((_request, response) => response.writeHead(500).end())
    const clock = stillClock()
    const error = await failure(get(url, { retryFor: 2000 }, null, clock))
    expect(error).toMatchObject({
      code: 'mapping/unreachable',
      message: expect.stringContaining('answers 500') as string,
    })
    expect(clock.now()).toBeLessThanOrEqual(2000)
    expect(exitCodeOf(error)).toBe(1)
    const [closed] = servers
    closed!.close()
    closed!.closeAllConnections()
    expect(await failure(get(url, { retryFor: 0 }))).toMatchObject({
      code: 'mapping/unreachable',
      message: expect.stringContaining('ECONNREFUSED') as string,
    })
  })

  it('is not waited for longer than the timeout', async () => {
    const url = await serve((_request, response) => void response.write('{'))
    expect(await failure(get(url, { timeout: 100, retryFor: 0 }))).toMatchObject({
      code: 'mapping/unreachable',
      message: expect.stringContaining('no answer in time') as string,
    })
  })

  it('is refused when it is too large, cut, or of a wrong address or token', async () => {
    const large = await serve((_request, response) => response.end('x'.repeat(1001)))
    expect(await failure(get(large))).toMatchObject({ code: 'mapping/too-large' })
    const cut = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': '10' })
      response.write('{')
      setImmediate(() => response.destroy())
    })
    expect(await failure(get(cut, { retryFor: 0 }))).toMatchObject({ code: 'mapping/unreachable' })
    const closed = await serve((_request, response) => response.writeHead(401).end())
    const refused = await failure(get(closed, { token: new Secret('s3cret') }))
    expect(refused).toMatchObject({ code: 'mapping/refused' })
    expect(exitCodeOf(refused)).toBe(3)
    const missing = await serve((_request, response) => response.writeHead(404).end())
    expect(await failure(get(missing))).toMatchObject({ code: 'mapping/unreadable' })
    for (const url of ['ftp://host/x', 'http://me:s3cret@host/', 'nothing'])
      expect(await failure(get(url))).toMatchObject({ code: 'mapping/options' })
    expect(await failure(get(large, { token: new Secret('s3cret\n') }))).toMatchObject({
      code: 'mapping/options',
    })
  })

  it('is followed to where it is, but no token goes elsewhere and nothing leaves TLS', async () => {
    const seen: unknown[] = []
    const target = await serve((request, response) => {
      seen.push(request.headers.authorization)
      response.end('{}')
    })
    const url = await serve((request, response) => {
      if (request.url === '/here') response.end('[]')
      else
        response.writeHead(302, { location: request.headers['x-never'] === undefined ? target : '/' }).end()
    })
    expect(await get(url)).toMatchObject({ text: '{}' })
    expect(await failure(get(url, { token: new Secret('s3cret') }))).toMatchObject({
      code: 'mapping/redirected',
    })
    expect(seen).toEqual([undefined])
    const round = await serve((_request, response) => response.writeHead(302, { location: '/again' }).end())
    expect(await failure(get(round))).toMatchObject({ code: 'mapping/redirected' })
  })

  it('comes over TLS from a server of a known authority only', async () => {
    const authority = new Authority(folder, 'authority')
    const { certificateFile, keyFile } = authority.issue('server')
    const tls = { cert: readFileSync(certificateFile), key: readFileSync(keyFile) }
    const url = await serve((_request, response) => response.end('{}'), tls)
    expect(await failure(get(url))).toMatchObject({ code: 'mapping/certificate' })
    const ca = readFileSync(authority.caFile, 'utf8')
    expect(await get(url, { ca })).toMatchObject({ text: '{}' })
    const plain = await serve((_request, response) => response.end('{}'))
    const down = await serve((_request, response) => response.writeHead(302, { location: plain }).end(), tls)
    expect(await failure(get(down, { ca }))).toMatchObject({ code: 'mapping/redirected' })
  })
})

function config(mapping: unknown): string {
  return JSON.stringify(
    {
      name: 'shop',
      source: { type: 'memory', database: 'a' },
      sinks: { main: { type: 'memory', target: 'b' } },
      mapping,
    },
    null,
    1,
  )
}

const nowhere = { variables: {}, readFile: () => '' }

async function mistakesOf(path: string): Promise<readonly string[]> {
  const error: unknown = await loadConfig(path, nowhere).catch((reason: unknown) => reason)
  if (!(error instanceof InvalidConfigError)) throw new Error(inspect(error))
  return error.message.split('\n').slice(1)
}

describe('the mapping of a config', () => {
  it('comes from files beside it, JSON or YAML or a module, or from the config', async () => {
    write('schema.json', JSON.stringify(SCHEMA))
    write('tables.yaml', 'people:\n  collection: public.users\n  fields: { id: id }\n')
    write(
      'zero.ts',
      'export const schema: unknown = { tables: {} }\nexport const mappings = { people: { collection: "users" } }\n',
    )
    for (const mapping of [
      { tables: { file: 'tables.yaml' } },
      { tables: { file: 'zero.ts' } },
      { tables: { inline: TABLES } },
      { schema: { file: 'schema.json' } },
    ]) {
      const loaded = await loadConfig(write('ok.json', config(mapping)), nowhere)
      const { mapping: built } = await buildPipeline(loaded)
      expect(built?.tables.tables).toHaveLength(1)
      expect(built?.breaking).toBe('refuse')
    }
  })

  it('stops the start with file, path and line of every mistake, together with those of the config (SC-1)', async () => {
    write(
      'wrong.json',
      '{\n "users": {\n  "tableName": "users",\n  "colums": {},\n  "primaryKey": ["id"]\n }\n}',
    )
    write('wrong.yaml', 'people:\n  collection: users\n  fields:\n    id: id\n  filtre: { a: 1 }\n')
    const path = write('bad.json', config({ tables: { file: 'wrong.yaml' } }).replace('"shop"', '"Shop!"'))
    expect(await mistakesOf(path)).toEqual([
      expect.stringMatching(/bad\.json:2:10 name: must be/),
      expect.stringMatching(/^ {2}wrong\.yaml:5:3 people\.filtre: is unknown here; did you mean "filter"/),
    ])
    expect(await mistakesOf(write('bad2.json', config({ schema: { file: 'wrong.json' } })))).toEqual(
      expect.arrayContaining([expect.stringMatching(/^ {2}wrong\.json:4:3 users\.colums: /)]),
    )
    expect(
      await mistakesOf(write('bad3.json', config({ tables: { inline: { p: { collection: 7 } } } }))),
    ).toEqual([expect.stringMatching(/bad3\.json:\d+:\d+ mapping\.tables\.inline\.p\.collection: /)])
  })

  it('says what is wrong with where it should come from', async () => {
    write('broken.json', '{ "a": "s3cret" ')
    const lines = async (mapping: unknown) =>
      (await mistakesOf(write('where.json', config(mapping)))).join('\n')
    expect(await lines({})).toContain('mapping: needs schema, tables or both')
    expect(await lines({ schema: { file: 'a', inline: {} }, tables: {} })).toMatch(
      /schema: needs one of[^]*tables: needs one of/,
    )
    expect(await lines({ tables: { file: 'missing.json' } })).toMatch(
      /tables\.file: missing\.json cannot be read \(ENOENT\)/,
    )
    expect(await lines({ tables: { file: 'broken.json' } })).toMatch(
      /tables\.file: broken\.json:1:\d+: this is not valid JSON/,
    )
    expect(await lines({ tables: { file: 'broken.json' } })).not.toContain('s3cret')
    for (const text of ['', ' \n', 'null', '# nothing\n'])
      expect(await lines({ tables: { file: basename(write('empty.yaml', text)) } })).toContain(
        'tables.file: empty.yaml is empty',
      )
    write('page.json', '<!doctype html><p>s3cret')
    expect(await lines({ tables: { file: 'page.json' } })).toMatch(/tables\.file: page\.json is HTML or XML/)
    expect(await lines({ tables: { file: 'tables.txt' } })).toContain('of which the kind is not known')
    expect(await lines({ tables: { url: 'http://me:s3cret@x/' } })).toMatch(/tables\.url: must hold neither/)
    expect(await lines({ tables: { inline: {}, token: 's3cret' } })).toMatch(
      /tables\.token: goes with url only/,
    )
    expect(await lines({ tables: { inline: {} }, pol: '3s' })).toContain('did you mean "poll"')
  })

  it('is no page of a server that wants something else, and not nothing', async () => {
    for (const [page, says] of [
      ['<html>log in, s3cret</html>', 'is HTML or XML'],
      ['\n', 'is empty'],
    ] as const) {
      const url = await serve((_request, response) => response.end(page))
      const file = write('page.json', config({ tables: { url, retryFor: '1s' } }))
      const error = await failure(buildPipeline(await loadConfig(file, nowhere)))
      expect(error.message).toContain(says)
      expect(error.message).not.toMatch(/s3cret|hidden/)
      expect(exitCodeOf(error)).toBe(2)
    }
  })

  it('has what a source of documents needs, or is a mistake of the config', async () => {
    const source = { type: 'mongodb', url: 'mongodb://localhost/shop' }
    const fields = { id: '_id', note: { path: 'note', type: 'text' } }
    const tables = {
      orders: { fields },
      lines: { fields: { id: { path: '_id', type: 'text?' } }, key: ['id'] },
    }
    const file = write(
      'untyped.json',
      JSON.stringify({ ...JSON.parse(config({ tables: { inline: tables } })), source }),
    )
    const error = await failure(buildPipeline(await loadConfig(file, nowhere)))
    expect(error).toMatchObject({ code: 'mapping/invalid' })
    expect(exitCodeOf(error)).toBe(2)
    expect(error.message).toMatch(
      /has 3 mistakes\n.*orders\.fields\.id needs a type.*\n.*orders needs a `key`.*\n.*lines\.key\[0\] is in the key and may be NULL/,
    )
  })

  it('comes from a server, whose mistakes have lines too', async () => {
    const url = await serve((_request, response) =>
      response.end('{\n "people": { "collectoin": "users" }\n}'),
    )
    const loaded = await loadConfig(write('url.json', config({ tables: { url, retryFor: '1s' } })), nowhere)
    const error = await failure(buildPipeline(loaded))
    expect(error.message).toContain(`${url.replace(/\?.*/, '')}:2:28 people.collectoin: is unknown here`)
    const gone = await loadConfig(
      write('gone.json', config({ tables: { url: 'http://127.0.0.1:1/', retryFor: '0s' } })),
      nowhere,
    )
    expect(await failure(buildPipeline(gone))).toMatchObject({ code: 'mapping/unreachable' })
  })
})

describe('a mapping that is read again', () => {
  const signal = new AbortController().signal

  it('is nothing new while its documents are the same, and keeps what it was after a mistake', async () => {
    let text = JSON.stringify(TABLES)
    const tags: unknown[] = []
    const url = await serve((request, response) => {
      tags.push(request.headers['if-none-match'])
      response.setHeader('etag', JSON.stringify(text.length))
      if (request.headers['if-none-match'] === JSON.stringify(text.length)) response.writeHead(304).end()
      else response.end(text)
    })
    const loaded = await loadConfig(write('again.json', config({ tables: { url } })), nowhere)
    const { mapping } = await buildPipeline(loaded)
    const { reload } = mapping!
    expect(await reload!.load(signal)).toBe(null)
    expect(tags).toEqual([undefined, JSON.stringify(text.length)])
    text = '{ "people": { "nothing": 1 } }'
    expect(await failure(reload!.load(signal))).toBeInstanceOf(InvalidConfigError)
    expect(await failure(reload!.load(signal))).toBeInstanceOf(InvalidConfigError)
    text = JSON.stringify({ ...TABLES, more: { collection: 'orders' } })
    expect((await reload!.load(signal))?.tables.tables).toHaveLength(2)
    expect(await reload!.load(signal)).toBe(null)
  })

  it('is read from the config again when it stands there', async () => {
    const path = write('inline.json', config({ tables: { inline: TABLES } }))
    const loaded = await loadConfig(path, nowhere)
    const { mapping } = await buildPipeline(loaded, { reload: () => loadConfig(path, nowhere) })
    expect(await mapping!.reload!.load(signal)).toBe(null)
    write(
      'inline.json',
      config({ tables: { inline: { ...TABLES, more: { collection: 'orders' } } }, breaking: 'apply' }),
    )
    expect(await mapping!.reload!.load(signal)).toMatchObject({ breaking: 'apply' })
    write('inline.json', config(undefined))
    expect(await failure(mapping!.reload!.load(signal))).toMatchObject({ code: 'mapping/gone' })
  })

  it('finds its files beside the config', async () => {
    write('beside.json', JSON.stringify(TABLES))
    const loader = new MappingLoader({
      mapping: (await loadConfig(write('b.json', config({ tables: { file: 'beside.json' } })), nowhere))
        .mapping!,
      file: join(dirname(join(folder, 'x')), 'b.json'),
    })
    expect((await loader.load(signal)).locate!({ document: 'mappings', path: ['people'] })).toBe(
      'beside.json:1:2 people',
    )
  })
})
