import type { Db, MongoClient } from 'mongodb'
import type { MongodbConfig, Units } from '../../src/connectors/sources/mongodb/config.ts'
import { MongodbSource } from '../../src/connectors/sources/mongodb/source.ts'
import type { RecordBatch } from '../../src/core/batch.ts'
import type { ConnectorContext } from '../../src/core/context.ts'
import type { CoreError } from '../../src/core/error.ts'
import { compileMapping } from '../../src/core/mapping/compile.ts'
import type { DocumentMapping } from '../../src/core/mapping/mapping.ts'
import type { Json, SourcePosition } from '../../src/core/position.ts'
import { Secret } from '../../src/core/secret.ts'
import { selectTables } from '../../src/core/selection.ts'
import type { SourceContext } from '../../src/core/source.ts'
import { Mirror, stored } from '../support/mirror.ts'
import { waitFor } from '../support/wait-for.ts'

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
export class SourceRun implements AsyncDisposable {
  readonly mirror: Mirror
  readonly source: MongodbSource
  readonly #controller = new AbortController()
  #done: Promise<void> = Promise.resolve()
  /** Why `stream` ended by itself. */
  failure: CoreError | null = null
  ended = false

  private constructor(options: SourceOptions, mirror: Mirror) {
    this.mirror = mirror
    this.source = newSource(options)
  }

  /** Connects, and streams from the position. `onWrite` may hold the source up, or throw. */
  static async start(
    options: SourceOptions,
    from: SourcePosition | null,
    mirror = new Mirror(),
    onWrite: (batch: RecordBatch) => void | Promise<void> = () => {},
  ): Promise<SourceRun> {
    const run = new SourceRun(options, mirror)
    await run.source.connect(contextOf(options))
    const write = (batch: RecordBatch): void | Promise<void> => {
      mirror.apply(batch)
      return onWrite(batch)
    }
    run.#done = run.source.stream({ signal: run.#controller.signal, write }, from).then(
      () => void (run.ended = true),
      (error: unknown) => {
        run.ended = true
        run.failure = error as CoreError
      },
    )
    return run
  }

  /** Waits until everything that is committed by now has been handed over, and the tables are whole. */
  async settled(): Promise<void> {
    const head = (await this.source.headPosition())!
    await this.until(`the source has read to ${head.order}`, () => {
      const position = this.source.currentPosition()
      return position !== null && position.order >= head.order && position.partial !== true
    })
  }

  /** Waits for a condition; fails at once when the source fails. */
  async until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    await waitFor(what, async () => {
      if (this.failure !== null) throw this.failure
      return holds()
    })
  }

  /** Waits until `stream` has failed. */
  async failed(): Promise<CoreError> {
    await waitFor('the source fails', () => this.ended)
    if (this.failure === null) throw new Error('the source ended without an error')
    return this.failure
  }

  abort(): void {
    this.#controller.abort()
  }

  /** Stops, and gives the last position. */
  async stop(): Promise<SourcePosition | null> {
    this.abort()
    await this.#done
    const position = this.source.currentPosition()
    await this.source.disconnect()
    return position === null ? null : stored(position)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
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
