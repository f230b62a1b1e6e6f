import type { Db, MongoClient } from 'mongodb'
import type { MongodbConfig, Units } from '../../src/connectors/sources/mongodb/config.ts'
import { MongodbSource } from '../../src/connectors/sources/mongodb/source.ts'
import type { ConnectorContext } from '../../src/core/context.ts'
import { compileMapping } from '../../src/core/mapping/compile.ts'
import type { DocumentMapping } from '../../src/core/mapping/mapping.ts'
import type { Json, SourcePosition } from '../../src/core/position.ts'
import { Secret } from '../../src/core/secret.ts'
import { selectTables } from '../../src/core/selection.ts'
import type { SourceContext } from '../../src/core/source.ts'
import { Mirror } from '../support/mirror.ts'
import { type OnWrite, RunningSource } from '../support/running-source.ts'

const QUIET = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

export interface SourceOptions {
  readonly uri: string
  readonly database: string
  readonly mapping: DocumentMapping
  readonly config?: Partial<MongodbConfig>
  readonly units?: Partial<Units>
  readonly log?: ConnectorContext['log']
  readonly tables?: readonly string[]
}

/** Mappings as a user writes them, compiled. Tables are called `public.<name>`. */
export function mapped(mappings: Json, allowsBreaking = false): DocumentMapping {
  const compiled = compileMapping({ schema: null, mappings }, { namespace: 'public', allowsBreaking })
  if (compiled.mapping === null) throw new Error(JSON.stringify(compiled.mistakes))
  return compiled.mapping
}

export function newSource(options: SourceOptions): MongodbSource {
  const config: MongodbConfig = {
    url: new Secret(options.uri),
    database: options.database,
    images: 'auto',
    withoutPreImage: 'refuse',
    drops: 'truncate',
    misfits: 'stop',
    json: 'plain',
    copyWorkers: 2,
    copyRange: 64 * 1024,
    connections: 8,
    heartbeat: 20,
    serverSelectionTimeout: 5000,
    ...options.config,
  }
  return new MongodbSource(config, options.units)
}

export function contextOf({ mapping, log, tables }: SourceOptions): SourceContext {
  return {
    pipeline: 'test',
    log: log ?? QUIET,
    now: () => Date.now(),
    run: 1,
    tables: selectTables(tables ?? []),
    mapping,
  }
}

/** A source at work, into a mirror. */
export class SourceRun extends RunningSource<MongodbSource> {
  private constructor(options: SourceOptions, mirror: Mirror) {
    super(newSource(options), mirror)
  }

  /** Connects, and streams from the position. */
  static start(
    options: SourceOptions,
    from: SourcePosition | null,
    mirror = new Mirror(),
    onWrite: OnWrite = () => {},
  ): Promise<SourceRun> {
    return new SourceRun(options, mirror).begin(contextOf(options), from, onWrite)
  }

  /** Waits until everything that is committed by now has been handed over, and the tables are whole. */
  async settled(): Promise<void> {
    const head = (await this.source.headPosition())!
    await this.until(`the source has read to ${head.order}`, () => {
      const position = this.source.currentPosition()
      return position !== null && position.order >= head.order && position.partial !== true
    })
  }
}

/** Copies and streams until everything is there, then stops. */
export async function copyAndStop(
  options: SourceOptions,
  mirror = new Mirror(),
): Promise<{ mirror: Mirror; position: SourcePosition }> {
  await using run = await SourceRun.start(options, null, mirror)
  await run.settled()
  return { mirror, position: (await run.stop())! }
}

/** Reads everything from the position on, then stops. */
export async function resume(
  options: SourceOptions,
  from: SourcePosition,
  mirror = new Mirror(),
): Promise<Mirror> {
  await using run = await SourceRun.start(options, from, mirror)
  await run.settled()
  return mirror
}

/** Makes a collection that stores pre- and post-images. */
export async function createWithImages(db: Db, name: string): Promise<void> {
  await db.createCollection(name, { changeStreamPreAndPostImages: { enabled: true } })
}

/** Runs `work` in one transaction. */
export async function inTransaction(
  client: MongoClient,
  work: (session: ReturnType<MongoClient['startSession']>) => Promise<void>,
): Promise<void> {
  const session = client.startSession()
  try {
    await session.withTransaction(() => work(session))
  } finally {
    await session.endSession()
  }
}
