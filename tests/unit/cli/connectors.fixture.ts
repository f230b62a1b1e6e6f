/** Connectors that fail in every way the command line has to report; loaded by a config as those of third parties. */
import { PositionLostError, type Problem } from '../../../src/core/error.ts'
import { described, oneOf, struct, withDefault } from '../../../src/core/fields.ts'
import { defineSink, defineSource } from '../../../src/core/registry.ts'
import { Sink, type SinkCapabilities, type SinkResume, type WriteResult } from '../../../src/core/sink.ts'
import { type BatchWriter, Source, type SourceCapabilities } from '../../../src/core/source.ts'
import type { TableSchema } from '../../../src/core/table.ts'

const FixtureConfig = struct({
  mode: oneOf('fine', 'refused', 'bug', 'position-lost').pipe(
    described('What happens.'),
    withDefault('fine'),
  ),
})

const problems: readonly Problem[] = [
  { severity: 'warning', code: 'fixture/slow', message: 'the server is slow', fix: 'Get a faster one.' },
  { severity: 'error', code: 'fixture/level', message: 'wal_level is replica', fix: 'Set it to logical.' },
  {
    severity: 'error',
    code: 'fixture/role',
    message: 'the role may not replicate',
    fix: 'Grant REPLICATION.',
  },
]

const orders: TableSchema = {
  namespace: 'public',
  name: 'orders',
  columns: [
    {
      id: '1',
      name: 'id',
      type: { kind: 'int', bits: 64, unsigned: false },
      nullable: false,
      native: 'bigint',
    },
    { id: '2', name: 'note', type: { kind: 'text' }, nullable: true, native: 'text' },
  ],
  key: [0],
  version: 0,
}

class FixtureSource extends Source {
  readonly type = 'fixture'
  readonly #mode: (typeof FixtureConfig.Type)['mode']

  constructor(config: typeof FixtureConfig.Type) {
    super()
    this.#mode = config.mode
  }

  capabilities(): SourceCapabilities {
    return {
      replay: 'log',
      snapshot: false,
      transactions: true,
      unchangedCells: false,
      updates: true,
      deletes: true,
      schemaChanges: [],
    }
  }

  async validate(): Promise<readonly Problem[]> {
    if (this.#mode === 'bug') throw new TypeError('a bug of the fixture')
    return this.#mode === 'refused' ? problems : []
  }

  async connect(): Promise<void> {}

  async discover(): Promise<readonly TableSchema[]> {
    return [orders]
  }

  async stream(out: BatchWriter): Promise<void> {
    if (this.#mode === 'position-lost') {
      throw new PositionLostError('fixture/position-lost', 'the log begins later', { fix: 'Copy again.' })
    }
    await new Promise<void>((resolve) => {
      // Unlike a timer, a listener alone does not keep the process alive.
      const alive = setInterval(() => {}, 1000)
      out.signal.addEventListener('abort', () => {
        clearInterval(alive)
        resolve()
      })
    })
  }

  async checkpoint(): Promise<void> {}

  currentPosition(): null {
    return null
  }

  async headPosition(): Promise<null> {
    return null
  }

  async disconnect(): Promise<void> {}
}

class StuckSink extends Sink {
  readonly type = 'stuck'
  #connected = false

  capabilities(): SinkCapabilities {
    return {
      replay: 'idempotent-upsert',
      supportsUpsert: true,
      supportsDelete: true,
      supportsPartialRows: true,
      schemaChanges: [],
      keepsNewestVersion: false,
      flushIntervalMs: 0,
    }
  }

  async validate(): Promise<readonly Problem[]> {
    return []
  }

  async connect(): Promise<SinkResume> {
    this.#connected = true
    return { position: null }
  }

  async createTable(): Promise<void> {}

  async alterTable(): Promise<'unsupported'> {
    return 'unsupported'
  }

  async writeBatch(): Promise<WriteResult> {
    return { durable: null }
  }

  override flush(): Promise<WriteResult> {
    return new Promise(() => {})
  }

  async disconnect(): Promise<void> {
    if (this.#connected) await new Promise(() => {})
  }
}

export const sources = [
  defineSource({
    type: 'fixture',
    summary: 'Fails as it is told',
    config: FixtureConfig,
    load: async () => (config) => new FixtureSource(config),
  }),
  defineSource({
    type: 'driverless',
    summary: 'Needs a package that is not installed',
    config: struct({}),
    load: async () => {
      // A variable, so that the compiler does not look for it.
      const driver: string = '@acme/driver'
      await import(driver)
      return () => new FixtureSource({ mode: 'fine' })
    },
  }),
]

export const sinks = [
  defineSink({
    type: 'stuck',
    summary: 'Never ends',
    config: struct({}),
    load: async () => () => new StuckSink(),
  }),
]
