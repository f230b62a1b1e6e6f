import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { access, constants, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

import { MongoClient } from 'mongodb'

import { freePort } from './free-port.ts'
import { Cluster, type WireOptions } from './mongo-wire/cluster.ts'
import type { Controls } from './mongo-wire/controls.ts'
import { waitFor } from './wait-for.ts'

/** A MongoDB for one test: a real one where there is one, else the wire server of the tests. */
export interface TestMongo extends AsyncDisposable {
  /** The server's address, without a database. */
  readonly uri: string
  /** A database of the test's own; a real server drops it in the end. */
  readonly database: string
  readonly client: MongoClient
  /** What the test can do to the server; `null` on a real one. */
  readonly controls: Controls | null
  /** The wire server itself; `null` on a real one. */
  readonly cluster: Cluster | null
  readonly kind: 'wire' | 'real'
}

export interface TestMongoOptions extends WireOptions {
  /** Begins the name of the database. */
  readonly purpose?: string
  /** The test needs the wire server: a control, or a topology that a real server here does not have. */
  readonly wire?: boolean
}

/** Which server the tests of this process use, and why. */
type Choice =
  | { readonly kind: 'url'; readonly url: string; readonly why: string }
  | { readonly kind: 'binary'; readonly path: string; readonly why: string }
  | { readonly kind: 'wire'; readonly why: string }

let chosen: Promise<Choice> | null = null

/**
 * Gives a test its MongoDB. Tests that need the controls or another topology than the one real replica set
 * ask with `needsWire` first and skip, with a reason, where a real server is used.
 */
export async function testMongo(options: TestMongoOptions = {}): Promise<TestMongo> {
  const { purpose = 'test', wire = false, ...wireOptions } = options
  const database = `${purpose}_${randomBytes(4).toString('hex')}`
  const choice = wire ? null : await choose()
  const started = await start(choice, wireOptions)
  const client = await MongoClient.connect(started.uri)
  return {
    uri: started.uri,
    database,
    client,
    controls: started.cluster?.controls ?? null,
    cluster: started.cluster,
    kind: started.cluster ? 'wire' : 'real',
    [Symbol.asyncDispose]: async () => {
      started.cluster?.controls.release()
      if (!started.cluster) await client.db(database).dropDatabase()
      await client.close()
      await started.stop()
    },
  }
}

/** Why a test that needs controls cannot run here, or `null`: `const why = await needsWire(); if (why) skip(why)`. */
export async function needsWire(): Promise<string | null> {
  const choice = await choose()
  return choice.kind === 'wire'
    ? null
    : `it needs the controls of the wire server, and a real MongoDB is used (${choice.why})`
}

interface Started {
  readonly uri: string
  readonly cluster: Cluster | null
  stop(): Promise<void>
}

async function start(choice: Choice | null, options: WireOptions): Promise<Started> {
  if (choice?.kind === 'url') return { uri: choice.url, cluster: null, stop: () => Promise.resolve() }
  if (choice?.kind === 'binary') return startBinary(choice.path)
  const cluster = await Cluster.start(options)
  return { uri: cluster.uri, cluster, stop: () => cluster[Symbol.asyncDispose]() }
}

function choose(): Promise<Choice> {
  chosen ??= decide().then((choice) => {
    const what = { url: 'the server of SLUICE_TEST_MONGODB_URL', binary: 'a mongod', wire: 'the wire server' }
    console.log(`MongoDB of the tests: ${what[choice.kind]}, because ${choice.why}`)
    return choice
  })
  return chosen
}

async function decide(): Promise<Choice> {
  const url = process.env['SLUICE_TEST_MONGODB_URL']
  if (url) return { kind: 'url', url, why: 'SLUICE_TEST_MONGODB_URL is set' }
  const named = process.env['MONGOD_BINARY']
  if (named) return { kind: 'binary', path: named, why: 'MONGOD_BINARY is set' }
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, 'mongod')
    if (await runs(path)) return { kind: 'binary', path, why: `${path} was found` }
  }
  return {
    kind: 'wire',
    why: 'SLUICE_TEST_MONGODB_URL and MONGOD_BINARY are not set and no mongod is in PATH',
  }
}

async function runs(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK)
    await promisify(execFile)(path, ['--version'])
    return true
  } catch {
    return false
  }
}

/** A replica set of one member in a folder of its own. */
async function startBinary(path: string): Promise<Started> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-mongod-'))
  const port = await freePort()
  const flags = ['--dbpath', folder, '--port', String(port), '--bind_ip', '127.0.0.1', '--replSet', 'rs0']
  const server = spawn(path, [...flags, '--setParameter', 'ttlMonitorEnabled=false'], { stdio: 'ignore' })
  const ended = new Promise<void>((resolve) => server.once('close', () => resolve()))
  // What cannot be started at all says so in an event of its own.
  const failed = new Promise<never>((_, reject) => server.once('error', reject))
  const stop = async () => {
    server.kill('SIGTERM')
    await ended
    await rm(folder, { recursive: true, force: true })
  }
  failed.catch(() => undefined)
  const direct = new MongoClient(`mongodb://127.0.0.1:${port}/?directConnection=true`)
  try {
    const members = [{ _id: 0, host: `127.0.0.1:${port}` }]
    await Promise.race([direct.connect(), failed])
    await direct.db('admin').command({ replSetInitiate: { _id: 'rs0', members } })
    await waitFor('the replica set has a primary', async () => {
      const hello = await direct.db('admin').command({ hello: 1 })
      return hello['isWritablePrimary'] === true
    })
  } catch (error) {
    await stop()
    throw error
  } finally {
    await direct.close()
  }
  return { uri: `mongodb://127.0.0.1:${port}/?replicaSet=rs0`, cluster: null, stop }
}
