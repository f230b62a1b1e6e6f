import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'

import { afterEach, expect, test, vi } from 'vitest'

import { Cluster } from '../support/mongo-wire/cluster.ts'

const SERVER = join(import.meta.dirname, '../support/mongo-wire/mongod.ts')

/** The module, which decides anew. */
async function fresh() {
  vi.resetModules()
  return import('../support/mongo.ts')
}

/** A folder with a program called `mongod`. */
async function folderWithMongod() {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-fake-mongod-'))
  const path = join(folder, 'mongod')
  await writeFile(path, `#!/bin/sh\nexec '${process.execPath}' '${SERVER}' "$@"\n`)
  await chmod(path, 0o755)
  return { folder, path, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) }
}

afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})

test('without a real server the tests use the wire server, and say why', async () => {
  vi.stubEnv('SLUICE_TEST_MONGODB_URL', undefined)
  vi.stubEnv('MONGOD_BINARY', undefined)
  vi.stubEnv('PATH', '/nonexistent')
  const said = vi.spyOn(console, 'log').mockReturnValue()
  const { testMongo, needsWire } = await fresh()
  for (let time = 0; time < 2; time++) {
    await using mongo = await testMongo()
    expect(mongo).toMatchObject({ kind: 'wire' })
    expect(mongo.controls).not.toBeNull()
  }
  expect(await needsWire()).toBeNull()
  expect(said.mock.calls).toEqual([
    [expect.stringMatching(/the wire server, because .* no mongod is in PATH/)],
  ])
})

test('a server that is named by its address is used, and only the own database goes in the end', async () => {
  await using cluster = await Cluster.start()
  vi.stubEnv('SLUICE_TEST_MONGODB_URL', cluster.uri)
  vi.spyOn(console, 'log').mockReturnValue()
  const { testMongo, needsWire } = await fresh()
  expect(await needsWire()).toMatch('SLUICE_TEST_MONGODB_URL is set')
  {
    await using mongo = await testMongo({ purpose: 'mine' })
    expect(mongo).toMatchObject({ kind: 'real', controls: null, database: expect.stringMatching(/^mine_/) })
    await mongo.client.db(mongo.database).collection('rows').insertOne({})
    await mongo.client.db('theirs').collection('rows').insertOne({})
  }
  expect([...cluster.store.databases.keys()]).toEqual(['theirs'])
})

test.each(['MONGOD_BINARY', 'PATH'])('a mongod that %s has is started, used and stopped', async (where) => {
  await using fake = await folderWithMongod()
  vi.stubEnv('SLUICE_TEST_MONGODB_URL', undefined)
  vi.stubEnv('MONGOD_BINARY', where === 'PATH' ? undefined : fake.path)
  if (where === 'PATH') vi.stubEnv('PATH', [fake.folder, process.env['PATH']].join(delimiter))
  vi.spyOn(console, 'log').mockReturnValue()
  const { testMongo } = await fresh()
  let uri: string
  {
    await using mongo = await testMongo()
    uri = mongo.uri
    expect(mongo.kind).toBe('real')
    await mongo.client.db(mongo.database).collection('rows').insertOne({})
    expect(await mongo.client.db(mongo.database).collection('rows').countDocuments()).toBe(1)
  }
  await expect(fetch(uri.replace('mongodb:', 'http:'))).rejects.toThrow('fetch failed')
})

test('a mongod that cannot be started fails the test that wanted it', async () => {
  vi.stubEnv('SLUICE_TEST_MONGODB_URL', undefined)
  vi.stubEnv('MONGOD_BINARY', '/nonexistent/mongod')
  vi.spyOn(console, 'log').mockReturnValue()
  const { testMongo } = await fresh()
  await expect(testMongo()).rejects.toThrow('ENOENT')
})
