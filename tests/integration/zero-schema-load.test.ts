/** Where a Zero schema comes from: files, modules and servers, also such as are slow, wrong or wicked. */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import * as tls from 'node:tls'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { createSchema, number, string, table } from '@rocicorp/zero'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadSchema, type SchemaOptions } from '../../src/connectors/sinks/zero/schema-load.ts'
import { ConfigError, ConnectionError, CoreError } from '../../src/core/error.ts'
import { Secret } from '../../src/core/secret.ts'
import { Authority } from '../support/certificates.ts'

const TOKEN = 'schema-token-of-the-test'
const schema = createSchema({
  tables: [
    table('author').from('authors').columns({ id: string(), age: number().optional() }).primaryKey('id'),
  ],
})
const text = JSON.stringify(schema)

let folder: string
let servers: Server[] = []

beforeEach(async () => {
  // Modules find the packages of the repository from here.
  folder = await mkdtemp(join(import.meta.dirname, '.schema-'))
})

afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
  servers = []
})

/** Time that moves only when it is waited for. */
class Clock {
  readonly waits: number[] = []
  #now = 1_000_000

  readonly now = () => this.#now

  readonly wait = async (milliseconds: number) => {
    this.waits.push(milliseconds)
    this.#now += milliseconds
  }
}

function load(options: Partial<SchemaOptions>, clock = new Clock()) {
  return loadSchema({ timeout: 10_000, retryFor: 30_000, maxSize: 100_000, ...options }, clock)
}

async function failure(options: Partial<SchemaOptions>, clock = new Clock()): Promise<CoreError> {
  const error: unknown = await load(options, clock).then(
    () => null,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(CoreError)
  expect(JSON.stringify([(error as CoreError).message, (error as CoreError).fix])).not.toContain(TOKEN)
  return error as CoreError
}

/** By file, the tables of the schema or why there are none. Vitest has a loader of its own, so in a process without it. */
async function loadedByNode(files: readonly string[]): Promise<Record<string, string>> {
  const loader = pathToFileURL(
    join(import.meta.dirname, '../../src/connectors/sinks/zero/schema-load.ts'),
  ).href
  const code = `
    const { loadSchema } = await import('${loader}')
    const loaded = {}
    for (const file of ${JSON.stringify(files)}) {
      const wanted = loadSchema({ file, maxSize: 100_000 })
      loaded[file] = await wanted.then((tables) => [...tables.keys()].join(), (error) => error.code + ' ' + error.message)
    }
    console.log(JSON.stringify(loaded))
  `
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], {
    cwd: folder,
  })
  expect(stdout).not.toContain(TOKEN)
  return JSON.parse(stdout) as Record<string, string>
}

async function serve(handler: RequestListener, server: Server = createServer()): Promise<string> {
  servers.push(server)
  server.on('request', handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Answers with one after the other, the last one for ever. */
function script(
  ...answers: readonly ((request: IncomingMessage, response: ServerResponse) => void)[]
): RequestListener {
  let next = 0
  return (request, response) => answers[Math.min(next++, answers.length - 1)]!(request, response)
}

const good = (_request: IncomingMessage, response: ServerResponse) => response.end(text)
const status = (code: number, headers: Record<string, string> = {}) => {
  return (_request: IncomingMessage, response: ServerResponse) =>
    void response.writeHead(code, headers).end('no')
}

describe('a schema file', () => {
  it('may be JSON', async () => {
    const file = join(folder, 'schema.json')
    await writeFile(file, text)
    expect([...(await load({ file })).keys()]).toEqual(['authors'])
  })

  it('may be a module, as Node itself runs it', async () => {
    const module = `
      import { createSchema, string, table } from '@rocicorp/zero'
      const author = table('author').columns({ id: string() }).primaryKey('id')
      const made = createSchema({ tables: [author] })
    `
    const modules = {
      'named.ts': `${module} export const schema = made; export type Schema = typeof schema`,
      'default.mjs': `${module} export default made`,
      'nested.mts': `${module} export default { schema: made as object }`,
      'renamed.js': `${module} export { made as schema }`,
      'empty.ts': 'export const other = 1',
      'enum.ts': 'enum A { a }\nexport const schema = {}',
      'lost.ts': "import 'no-such-package'",
      'thrown.mjs': `throw new Error('${TOKEN}')`,
      'syntax.mjs': 'export const = 5',
      'wrong.ts': 'export const schema = { tables: { a: 1 } }',
      'functions.ts': 'export default () => ({ tables: {} })',
    }
    for (const [name, code] of Object.entries(modules)) await writeFile(join(folder, name), code)
    expect(await loadedByNode([...Object.keys(modules), 'none.ts'])).toEqual({
      'named.ts': 'author',
      'default.mjs': 'author',
      'nested.mts': 'author',
      'renamed.js': 'author',
      'empty.ts': expect.stringMatching(/^zero\/schema-malformed .*empty\.ts exports neither/),
      'enum.ts': expect.stringMatching(
        /^zero\/schema-unreadable .*enum\.ts cannot be loaded: .*enum is not supported/,
      ),
      'lost.ts': expect.stringMatching(/^zero\/schema-unreadable .*Cannot find package 'no-such-package'/),
      'thrown.mjs': expect.stringMatching(/^zero\/schema-unreadable .*thrown\.mjs cannot be loaded: Error$/),
      'syntax.mjs': expect.stringMatching(/^zero\/schema-unreadable .*Unexpected token/),
      'wrong.ts': expect.stringMatching(
        /^zero\/schema-malformed .*wrong\.ts is no Zero schema\n {2}tables\.a: must be an object$/,
      ),
      'functions.ts': expect.stringMatching(/^zero\/schema-malformed .*\n {2}the schema: must be an object$/),
      'none.ts': expect.stringMatching(/^zero\/schema-unreadable .*Cannot find module/),
    })
  })

  it.each([
    ['broken.json', `{"a": ${TOKEN}`, 'zero/schema-malformed', /broken\.json is not JSON$/],
    ['large.json', ' '.repeat(100_001), 'zero/schema-too-large', /large\.json is larger than 100000 bytes$/],
    ['none.json', null, 'zero/schema-unreadable', /none\.json cannot be read \(ENOENT\)$/],
  ])('%s is refused and says why', async (name, content, code, message) => {
    const file = join(folder, name)
    if (content !== null) await writeFile(file, content)
    const error = await failure({ file })
    expect([error.constructor, error.code]).toEqual([ConfigError, code])
    expect(error.message).toMatch(message)
  })
})

describe('the option', () => {
  it('may hold the schema itself', async () => {
    expect([...(await load({ inline: schema })).keys()]).toEqual(['authors'])
  })

  it('says one place', async () => {
    expect((await failure({})).code).toBe('zero/schema-options')
    expect((await failure({ inline: schema, url: 'http://localhost/' })).code).toBe('zero/schema-options')
  })
})

describe('a schema server', () => {
  it('is shown the token', async () => {
    const seen: (string | undefined)[] = []
    const url = await serve((request, response) => {
      seen.push(request.headers.authorization)
      response.end(text)
    })
    expect([...(await load({ url: `${url}/schema?x=1`, token: new Secret(TOKEN) })).keys()]).toEqual([
      'authors',
    ])
    await load({ url })
    expect(seen).toEqual([`Bearer ${TOKEN}`, undefined])
  })

  it.each([401, 403])('that answers %i is not asked again', async (code) => {
    const clock = new Clock()
    const url = await serve(script(status(code), good))
    expect(await failure({ url: `${url}/a?k=${TOKEN}`, token: new Secret(TOKEN) }, clock)).toMatchObject({
      code: 'zero/schema-refused',
      message: `${url}/a answers ${code}`,
    })
    expect(clock.waits).toEqual([])
  })

  it.each([404, 400, 204, 304])('that answers %i has no schema', async (code) => {
    const clock = new Clock()
    const error = await failure({ url: await serve(script(status(code), good)) }, clock)
    expect([error.constructor, error.code]).toEqual([ConfigError, 'zero/schema-unreadable'])
    expect(clock.waits).toEqual([])
  })

  it('that is out of order is asked again, slower and slower, and as late as it wishes', async () => {
    const clock = new Clock()
    const url = await serve(
      script(status(503), status(500), status(429, { 'retry-after': '7' }), status(502), good),
    )
    expect([...(await load({ url }, clock)).keys()]).toEqual(['authors'])
    expect(clock.waits).toEqual([200, 400, 7000, 1600])
  })

  it('that stays out of order is given up in time', async () => {
    const clock = new Clock()
    const error = await failure({ url: await serve(status(503)), retryFor: 10_000 }, clock)
    expect([error.code, error.retryable]).toEqual(['zero/schema-unreachable', true])
    expect(clock.waits).toEqual([200, 400, 800, 1600, 3200])
    const patient = new Clock()
    await failure({ url: await serve(status(503, { 'retry-after': '60' })), retryFor: 10_000 }, patient)
    expect(patient.waits).toEqual([])
  })

  it('that is not there, or hangs up, is asked again', async () => {
    const closed = createServer()
    const url = await serve(good, closed)
    await new Promise((resolve) => closed.close(resolve))
    const clock = new Clock()
    const error = await failure({ url, retryFor: 500 }, clock)
    expect(error).toBeInstanceOf(ConnectionError)
    expect(error.message).toMatch(/cannot be reached \(ECONNREFUSED\)$/)
    expect(clock.waits).toEqual([200])
    const hangsUp = await serve(
      script(
        (request) => request.socket.destroy(),
        (_request, response) => {
          response.writeHead(200, { 'content-length': '1000' })
          response.write(text.slice(0, 10), () => response.destroy())
        },
        good,
      ),
    )
    expect([...(await load({ url: hangsUp })).keys()]).toEqual(['authors'])
  })

  it('that is silent, or ends never, is not waited for', async () => {
    const silent = await serve(() => {})
    const error = await failure({ url: silent, timeout: 50, retryFor: 0 })
    expect([error.constructor, error.code]).toEqual([ConnectionError, 'zero/schema-unreachable'])
    expect(error.message).toMatch(/gives no answer in time$/)
    const stuck = await serve((_request, response) => void response.write('{'))
    expect((await failure({ url: stuck, timeout: 50, retryFor: 0 })).code).toBe('zero/schema-unreachable')
  })

  it('that sends too much is cut off', async () => {
    let written = 0
    const endless = await serve((_request, response) => {
      const more = () => {
        while (!response.destroyed) {
          written += 10_000
          if (!response.write(' '.repeat(10_000))) return
        }
      }
      response.on('drain', more)
      more()
    })
    const error = await failure({ url: endless })
    expect([error.code, error.retryable]).toEqual(['zero/schema-too-large', false])
    expect(written).toBeLessThan(50_000_000)
  })

  it.each([
    ['<html>', /is not JSON$/],
    ['{"tables": {}}', /tables: has no table/],
    ['', /is not JSON$/],
  ])('that sends %j is no schema server', async (body, message) => {
    const error = await failure({ url: await serve((_request, response) => response.end(body)) })
    expect(error.code).toBe('zero/schema-malformed')
    expect(error.message).toMatch(message)
  })

  it('may redirect within itself, and elsewhere when there is no token', async () => {
    const seen: (string | undefined)[] = []
    const target = await serve((request, response) => {
      seen.push(request.headers.authorization)
      if (request.url === '/there') response.end(text)
      else response.writeHead(307, { location: '/there' }).end()
    })
    const other = await serve(status(302, { location: `${target}/there` }))
    await load({ url: target, token: new Secret(TOKEN) })
    await load({ url: other })
    expect(seen).toEqual([`Bearer ${TOKEN}`, `Bearer ${TOKEN}`, undefined])
    const error = await failure({ url: other, token: new Secret(TOKEN) })
    expect(error).toMatchObject({
      code: 'zero/schema-redirected',
      message: `${other}/ redirects to ${target}, which must not see the token`,
    })
    expect(seen).toHaveLength(3)
  })

  it('that redirects for ever or to nowhere is given up', async () => {
    const forEver = await serve(status(302, { location: '/again' }))
    expect((await failure({ url: forEver })).message).toMatch(/redirects too often$/)
    const nowhere = await serve(status(302, { location: 'file:///etc/passwd' }))
    expect((await failure({ url: nowhere })).code).toBe('zero/schema-redirected')
    expect((await failure({ url: await serve(status(302)) })).code).toBe('zero/schema-unreadable')
  })

  it('must have a certificate that is trusted, and sends nobody to plain text', async () => {
    const authority = new Authority(folder, 'authority')
    const { certificateFile, keyFile } = authority.issue('server')
    const files = { cert: await readFile(certificateFile), key: await readFile(keyFile) }
    const address = await serve((request, response) => {
      if (request.url === '/plain') response.writeHead(302, { location: 'http://127.0.0.1:1/' })
      response.end(text)
    }, createTlsServer(files))
    const url = address.replace('http:', 'https:')
    const clock = new Clock()
    const error = await failure({ url }, clock)
    expect([error.constructor, error.code, clock.waits]).toEqual([ConfigError, 'zero/schema-certificate', []])
    const trusted = tls.getCACertificates('default')
    tls.setDefaultCACertificates([...trusted, await readFile(authority.caFile, 'utf8')])
    try {
      expect([...(await load({ url })).keys()]).toEqual(['authors'])
      expect((await failure({ url: `${url}/plain` })).message).toMatch(/redirects to an address without TLS/)
    } finally {
      tls.setDefaultCACertificates(trusted)
    }
  })

  it.each(['ftp://localhost/', 'schema.json', `http://user:${TOKEN}@localhost/`])(
    'has no such address: %s',
    async (url) => {
      expect((await failure({ url })).code).toBe('zero/schema-options')
    },
  )

  it('never gets a token that breaks the request', async () => {
    const error = await failure({ url: await serve(good), token: new Secret(`${TOKEN}\nx`) })
    expect([error.code, error.cause]).toEqual(['zero/schema-options', undefined])
  })
})
