import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { MemoryDatabase } from '../../../src/connectors/sources/memory/database.ts'
import { MemorySource } from '../../../src/connectors/sources/memory/source.ts'
import { type LoadedConfig, loadConfig, MemoryCheckpointStore, runPipeline } from '../../../src/index.ts'
import { buildPipeline } from '../../../src/runtime/config/build.ts'
import { recordingLog, table } from '../../support/memory-pipeline.ts'

const environment = { variables: { PG_URL: 'postgres://u@localhost/shop' }, readFile: () => '' }

it('the examples in YAML and TypeScript say the same', async () => {
  const yaml = await loadConfig('examples/postgres-to-clickhouse.yaml', environment)
  const typescript = await loadConfig('examples/postgres-to-clickhouse.ts', environment)
  const unplaced = { file: '', written: null }
  expect({ ...typescript, ...unplaced }).toEqual({ ...yaml, ...unplaced })
})

it('the example of a connector of a third party writes what it is given', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-example-'))
  try {
    const variables = { ...environment.variables, OUTPUT: join(folder, 'out.jsonl') }
    const config = await loadConfig('examples/jsonl-sink.yaml', { ...environment, variables })
    const database = MemoryDatabase.named('example')
    const orders = table('orders')
    database.createTable(orders)
    database.insert('public.orders', { id: 1, name: 'a', note: null })
    const source = {
      type: 'memory',
      create: () => new MemorySource({ database: 'example', partialUpdates: false, heartbeat: 10 }),
    }
    const definition = {
      ...(await buildPipeline(inMemory(config))),
      source,
      store: new MemoryCheckpointStore(),
    }
    await runPipeline(definition, { log: recordingLog(), stopWhenCaughtUp: true })
    expect(readFileSync(variables.OUTPUT, 'utf8')).toBe(
      // A first copy begins with a truncate, also of what was never there.
      '{"op":"alter","table":"public.orders","change":{"kind":"truncate"}}\n' +
        '{"op":"insert","table":"public.orders","key":[1],"row":{"id":1,"name":"a","note":null}}\n',
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
})

function inMemory(config: LoadedConfig): LoadedConfig {
  return { ...config, checkpoint: { ...config.checkpoint, store: 'memory' } }
}
