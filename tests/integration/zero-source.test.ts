/** `sluice zero-source` as its users run it: a process of its own, environment variables, MongoDB, a real zero-cache. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type CliRun, startCli } from '../support/cli.ts'
import { freePort } from '../support/free-port.ts'
import { type TestMongo, testMongo } from '../support/mongo.ts'
import {
  createTable,
  insert,
  internalTables,
  ScriptedChangeSource,
} from '../support/scripted-change-source.ts'
import { SteeredCli } from '../support/steered-cli.ts'
import { waitFor } from '../support/wait-for.ts'
import { ZeroCache } from '../support/zero-cache.ts'
import { ZeroReplica } from '../support/zero-replica.ts'
import { ZeroSubscriber } from '../support/zero-subscriber.ts'
import { writeZeroSourcesDatabase } from '../support/zero-sources-database.ts'

const SCHEMA = {
  message: {
    tableName: 'message',
    columns: { id: { type: 'string' }, content: { type: 'string' }, userId: { type: 'string' } },
    primaryKey: ['id'],
  },
}
const MAPPINGS = {
  message: { collection: 'messages', fields: { id: '_id', content: 'content', userId: 'author.id' } },
}

/** Of the log, or of what lies beside it. */
const UNWRITABLE = /code: (zero\/log-|checkpoint\/)unwritable/

type Variables = Readonly<Record<string, string>>

let mongo: TestMongo
let folder: string
let run: CliRun | null = null

beforeAll(async () => {
  mongo = await testMongo({ purpose: 'zero_source' })
})
afterAll(async () => await mongo[Symbol.asyncDispose]())

afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') console.log(run?.stderr())
  await stop()
  await messages().deleteMany({})
  rmSync(folder, { recursive: true, force: true })
})

interface Message {
  readonly _id: string
  readonly content: string
  readonly author: { readonly id: string }
  readonly hidden: number
}

const messages = () => mongo.client.db(mongo.database).collection<Message>('messages')
const message = (id: string, content = `message ${id}`): Message => ({
  _id: id,
  content,
  author: { id: 'ann' },
  hidden: 1,
})
const row = (id: string, content = `message ${id}`) => ({ id, content, userId: 'ann' })

/** Files of schema and mappings, and the variables that name them. */
async function prepared(): Promise<
  Variables & { readonly PORT: string; readonly WATERMARK_DB_PATH: string }
> {
  folder = mkdtempSync(join(tmpdir(), 'sluice-zero-source-'))
  writeFileSync(join(folder, 'schema.json'), JSON.stringify(SCHEMA))
  writeFileSync(join(folder, 'mappings.json'), JSON.stringify(MAPPINGS))
  const uri = new URL(mongo.uri)
  uri.pathname = `/${mongo.database}`
  return {
    MONGODB_URI: uri.href,
    SCHEMA_FILE: join(folder, 'schema.json'),
    TABLE_MAPPINGS_FILE: join(folder, 'mappings.json'),
    HOST: '127.0.0.1',
    PORT: String(await freePort()),
    WATERMARK_DB_PATH: join(folder, 'data', 'watermarks.db'),
    ZERO_PERMISSIONS: 'allow-all-select',
  }
}

function start(variables: Variables, ...args: readonly string[]): CliRun {
  run = startCli(['zero-source', ...args], variables)
  return run
}

async function stop(): Promise<number | null> {
  run?.child.kill('SIGTERM')
  const ended = await run?.done
  run = null
  return ended?.code ?? null
}

const urlOf = ({ PORT }: { readonly PORT: string }) => `ws://127.0.0.1:${PORT}/changes/v0/stream`

async function serving(): Promise<void> {
  const said = (): boolean => run!.stderr().includes('serving')
  await waitFor('it serves subscribers', () => said() || run!.child.exitCode !== null, 60_000)
  expect(said()).toBe(true)
}

async function ended(cli: CliRun): Promise<readonly [number | null, string]> {
  const { code } = await cli.done
  return [code, cli.stderr()]
}

function rowsOf(cache: ZeroCache): readonly unknown[] {
  using replica = new ZeroReplica(cache.replicaFile)
  return replica.rows('message').toSorted((a, b) => (String(a['id']) < String(b['id']) ? -1 : 1))
}

describe('sluice zero-source', () => {
  it('brings mapped documents into a real zero-cache, and goes on where it was after a restart', async () => {
    const variables = await prepared()
    await messages().insertMany([message('a'), message('b')])
    start(variables)
    await serving()
    await using cache = await ZeroCache.start({ upstream: urlOf(variables), supervised: true })
    await cache.ready()
    expect(rowsOf(cache)).toEqual([row('a'), row('b')])
    await messages().updateOne({ _id: 'a' }, { $set: { content: 'other' } })
    await messages().deleteOne({ _id: 'b' })
    await waitFor('the changes are there', () => JSON.stringify(rowsOf(cache)).includes('other'), 60_000)
    expect(await stop()).toBe(0)
    await messages().insertOne(message('c'))
    start(variables)
    const expected = [row('a', 'other'), row('c')]
    await waitFor(
      'it goes on',
      () => rowsOf(cache).length === 2 && rowsOf(cache).at(-1) !== undefined,
      60_000,
    )
    await waitFor('all is equal', () => JSON.stringify(rowsOf(cache)) === JSON.stringify(expected), 60_000)
    expect(existsSync(`${variables.WATERMARK_DB_PATH}-checkpoint`)).toBe(true)
  })

  it('checks, and lists the tables', async () => {
    const variables = await prepared()
    const cli = start(variables, '--check')
    const [code] = await ended(cli)
    expect([code, cli.stdout()]).toEqual([0, expect.stringContaining('message')])
    expect(existsSync(variables.WATERMARK_DB_PATH)).toBe(false)
  })

  it('takes schema and mappings from a server that wants a token', async () => {
    const { SCHEMA_FILE: _, TABLE_MAPPINGS_FILE: __, ...variables } = await prepared()
    await messages().insertOne(message('a'))
    const asked: string[] = []
    const server = createServer((request, response) => {
      asked.push(`${request.url} ${request.headers.authorization}`)
      response.end(JSON.stringify(request.url === '/schema' ? SCHEMA : MAPPINGS))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    try {
      start({
        ...variables,
        SCHEMA_URL: `${url}/schema`,
        SCHEMA_TOKEN: 'one',
        TABLE_MAPPINGS_URL: `${url}/mappings`,
        TABLE_MAPPINGS_TOKEN: 'two',
      })
      await serving()
      await using subscriber = await ZeroSubscriber.connect({ url: urlOf(variables) })
      await subscriber.until('the snapshot is there', () => subscriber.transactions.length > 0, 60_000)
      expect(JSON.stringify(subscriber.transactions)).toContain('"content":"message a"')
      expect(asked.toSorted()).toEqual(['/mappings Bearer two', '/schema Bearer one'])
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  it('ends with an exit code when a server of them cannot be reached', async () => {
    const { SCHEMA_FILE: _, ...variables } = await prepared()
    const url = `http://127.0.0.1:${await freePort()}/schema`
    const [code, stderr] = await ended(start({ ...variables, SCHEMA_URL: url, MAPPING_RETRY_FOR: '1s' }))
    expect(code).not.toBe(0)
    expect(stderr).toContain('schema')
  })
})

describe('WATERMARK_DB_PATH (WS-3)', () => {
  it('is refused to a second process', async () => {
    const variables = await prepared()
    start(variables)
    await serving()
    const first = run!
    const second = startCli(['zero-source'], {
      ...variables,
      PORT: String(await freePort()),
      PIPELINE_NAME: 'other',
    })
    const [code, stderr] = await ended(second)
    expect([code, stderr]).toEqual([1, expect.stringContaining('zero/log-in-use')])
    expect(first.child.exitCode).toBeNull()
  })

  it('is refused when its directory cannot be made', async () => {
    const variables = await prepared()
    const path = join(folder, 'file', 'watermarks.db')
    writeFileSync(join(folder, 'file'), '')
    const [code, stderr] = await ended(start({ ...variables, WATERMARK_DB_PATH: path }))
    expect([code, stderr]).toEqual([1, expect.stringMatching(UNWRITABLE)])
  })

  it('is refused where nothing can be written, also by root', async () => {
    const variables = await prepared()
    const [code, stderr] = await ended(start({ ...variables, WATERMARK_DB_PATH: '/proc/watermarks.db' }))
    expect([code, stderr]).toEqual([1, expect.stringMatching(UNWRITABLE)])
  })

  it('is refused to a second one that is the same, by the lease of the pipeline', async () => {
    const variables = await prepared()
    start(variables)
    await serving()
    const first = run!
    const [code, stderr] = await ended(startCli(['zero-source'], variables))
    expect([code, stderr]).toEqual([3, expect.stringContaining('checkpoint/lease-held')])
    expect(first.child.exitCode).toBeNull()
  })
})

describe('in the place of zero-sources (WS-2)', () => {
  it('lets its zero-cache go on, with everything since its last change', async () => {
    const variables = await prepared()
    await messages().insertMany([message('a'), message('b'), message('c')])
    const columns = { id: { dataType: 'text' }, content: { dataType: 'text' }, userId: { dataType: 'text' } }
    const snapshot = [
      ...internalTables(['message']),
      ...createTable('message', columns, ['id']),
      ...['a', 'b', 'c'].map((id) => insert('message', row(id))),
    ]
    await using server = await ScriptedChangeSource.start(snapshot, 0)
    await using cache = await ZeroCache.start({ upstream: server.url, autoReset: false })
    await cache.ready()
    const timeMs = Math.floor(Date.now() / 1000) * 1000
    await messages().updateOne({ _id: 'a' }, { $set: { content: 'Ann' } })
    const last = server.send(insert('message', row('a', 'Ann')))
    await waitFor('the earlier server is followed', () => server.acks.includes(last), 60_000)
    await cache.stop()
    writeZeroSourcesDatabase(variables.WATERMARK_DB_PATH, [{ watermark: last, timeMs }])

    await messages().deleteOne({ _id: 'b' })
    await messages().updateOne({ _id: 'c' }, { $set: { content: 'Cid' } })
    await messages().insertOne(message('d'))
    start(variables)
    await serving()
    await cache.restart(urlOf(variables))
    const expected = [row('a', 'Ann'), row('c', 'Cid'), row('d')]
    await waitFor(
      'the replica has what changed meanwhile',
      () => JSON.stringify(rowsOf(cache)) === JSON.stringify(expected),
      60_000,
    )
    await messages().insertOne(message('e'))
    await waitFor('it is live', () => rowsOf(cache).length === 4, 60_000)
    expect(cache.output).not.toContain('reset-required')
    expect(existsSync(`${variables.WATERMARK_DB_PATH}-zero-sources`)).toBe(true)
  })

  it('replays all of it also when the first copy was killed half-way', async () => {
    const variables = await prepared()
    const mappings = { ...MAPPINGS, note: { collection: 'notes', fields: MAPPINGS.message.fields } }
    const schema = { ...SCHEMA, note: { ...SCHEMA.message, tableName: 'note' } }
    const notes = mongo.client.db(mongo.database).collection<Message>('notes')
    await messages().insertMany([message('a'), message('b')])
    await notes.insertOne(message('n'))
    const timeMs = Math.floor(Date.now() / 1000) * 1000
    writeZeroSourcesDatabase(variables.WATERMARK_DB_PATH, [{ watermark: '01', timeMs }])
    await messages().deleteOne({ _id: 'b' })
    await notes.updateOne({ _id: 'n' }, { $set: { content: 'Nan' } })
    const config = join(folder, 'pipeline.json')
    const zero = {
      type: 'zero',
      path: variables.WATERMARK_DB_PATH,
      port: Number(variables.PORT),
    }
    const pipeline = {
      name: 'killed',
      source: { type: 'mongodb', url: variables.MONGODB_URI, copyWorkers: 1 },
      mapping: { schema: { inline: schema }, tables: { inline: mappings } },
      sinks: { zero },
      log: { format: 'json' },
      checkpoint: { store: 'memory' },
    }
    writeFileSync(config, JSON.stringify(pipeline))
    const killed = new SteeredCli(['run', config], { hold: { point: 'snapshot-record', times: 2 } })
    await killed.until('one table is copied', () => killed.held !== null, 60_000)
    await killed.kill()
    const again = new SteeredCli(['run', config])
    try {
      await again.until('it serves', () => again.log.some(({ message: said }) => said === 'serving'), 60_000)
      await using subscriber = await ZeroSubscriber.connect({
        url: urlOf(variables),
        after: { lastWatermark: '01', replicaVersion: '00' },
      })
      await subscriber.until('it goes on', () => subscriber.transactions.length > 0, 60_000)
      const changes = JSON.stringify(subscriber.transactions[0]!.changes)
      expect(changes).toContain('"content":"Nan"')
      expect(changes).toMatch(/"tag":"delete"[^}]*"name":"message".*"key":\{"id":"b"\}/)
      expect(subscriber.others).toEqual([])
    } finally {
      await again.stop()
      await notes.drop()
    }
  })

  it('is refused when the oplog does not reach back so far, and begins anew when told to', async () => {
    const variables = await prepared()
    await using short = await testMongo({ purpose: 'short', wire: true })
    const uri = new URL(short.uri)
    uri.pathname = `/${short.database}`
    const here = { ...variables, MONGODB_URI: uri.href }
    const collection = short.client.db(short.database).collection<Message>('messages')
    await collection.insertOne(message('a'))
    short.controls!.cutLog()
    await collection.insertOne(message('b'))
    const pairs = [{ watermark: '01', timeMs: Math.floor(Date.now() / 1000) * 1000 - 60_000 }]
    writeZeroSourcesDatabase(variables.WATERMARK_DB_PATH, pairs)
    const [code, stderr] = await ended(start(here))
    expect([code, stderr]).toEqual([5, expect.stringContaining('WATERMARK_IMPORT')])
    start({ ...here, WATERMARK_IMPORT: 'forget' })
    await serving()
    await using subscriber = await ZeroSubscriber.connect({
      url: urlOf(variables),
      after: { lastWatermark: '01', replicaVersion: '00' },
    })
    await subscriber.until('it is told to begin anew', () => subscriber.others.length > 0, 60_000)
    expect(subscriber.others[0]![1]).toMatchObject({ tag: 'reset-required' })
  })
})
