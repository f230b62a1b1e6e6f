import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Db } from 'mongodb'
import type { Json } from '../../src/core/position.ts'
import type { CheckpointStore } from '../../src/runtime/checkpoint/store.ts'
import { buildPipeline } from '../../src/runtime/config/build.ts'
import { loadConfig } from '../../src/runtime/config/load.ts'
import { TcpProxy } from '../../src/testkit/tcp-proxy.ts'
import { type CliRun, startCli } from './cli.ts'
import { type TestClickHouse, testClickHouse } from './clickhouse.ts'
import { documentDifferences, LOAD, type LoadCollection, loadMapping } from './document-load.ts'
import type { TestMongo } from './mongo.ts'
import type { Exit } from './steered-cli.ts'
import type { Start } from './steered-child.ts'
import { SteeredCli } from './steered-cli.ts'

export interface MongoPipelineOptions {
  /** Of the pipeline and the target. */
  readonly name: string
  /** Of the document load. */
  readonly collections?: readonly LoadCollection[]
  /** By default that of these collections. */
  readonly mapping?: Json
  /** Further options of the source, as YAML. */
  readonly source?: string
  readonly requestTimeout?: string
}

/** A pipeline of the command line from MongoDB to ClickHouse, with a proxy before ClickHouse. */
export class MongoPipeline implements AsyncDisposable {
  readonly name: string
  readonly clickhouse: TestClickHouse
  readonly sinkLink: TcpProxy
  readonly config: string
  readonly #mongo: TestMongo
  readonly #collections: readonly LoadCollection[]
  readonly #folder: string
  readonly #runs: { kill(): void; readonly done: Promise<unknown> }[] = []
  #run: SteeredCli | null = null
  #store: Promise<CheckpointStore> | null = null

  private constructor(
    mongo: TestMongo,
    options: MongoPipelineOptions,
    clickhouse: TestClickHouse,
    link: TcpProxy,
  ) {
    const {
      name,
      collections = LOAD,
      mapping = loadMapping(collections),
      source = '',
      requestTimeout = '60s',
    } = options
    this.name = name
    this.#mongo = mongo
    this.#collections = collections
    this.clickhouse = clickhouse
    this.sinkLink = link
    this.#folder = mkdtempSync(join(tmpdir(), 'sluice-mongo-'))
    this.config = join(this.#folder, 'pipeline.yaml')
    writeFileSync(
      this.config,
      `
name: ${name}
source: { type: mongodb, url: '${mongo.uri}', database: ${mongo.database}, heartbeat: 100ms, copyRange: 64KB, serverSelectionTimeout: 2s ${source} }
mapping: { tables: { inline: ${JSON.stringify(mapping)} } }
sinks:
  lake: { type: clickhouse, url: 'http://127.0.0.1:${link.port}', database: ${clickhouse.database}, flushInterval: 20ms, requestTimeout: ${requestTimeout} }
checkpoint: { interval: 20ms }
log: { format: json }
buffer: 1MiB
`,
    )
  }

  static async make(mongo: TestMongo, options: MongoPipelineOptions): Promise<MongoPipeline> {
    const clickhouse = await testClickHouse(options.name)
    const { hostname, port } = new URL(clickhouse.url)
    const link = await TcpProxy.start({ host: hostname, port: Number(port) })
    return new MongoPipeline(mongo, options, clickhouse, link)
  }

  get db(): Db {
    return this.#mongo.client.db(this.#mongo.database)
  }

  /** The process that was started last. */
  get run(): SteeredCli {
    if (this.#run === null) throw new Error('the pipeline was not started')
    return this.#run
  }

  start(start: Partial<Start> = {}): SteeredCli {
    const run = new SteeredCli(['run', this.config], start)
    this.#runs.push({ kill: () => run.child.kill('SIGKILL'), done: run.done })
    return (this.#run = run)
  }

  /** Another command on its config, until that ends. */
  async command(
    name: string,
    ...flags: readonly string[]
  ): Promise<Exit & Pick<CliRun, 'stdout' | 'stderr'>> {
    const run = startCli([name, this.config, ...flags])
    this.#runs.push({ kill: () => run.child.kill('SIGKILL'), done: run.done })
    return { ...(await run.done), stdout: run.stdout, stderr: run.stderr }
  }

  /** `order` of the stored position; null without one. */
  async position(): Promise<string | null> {
    this.#store ??= loadConfig(this.config)
      .then(buildPipeline)
      .then(({ store }) => store)
    const { checkpoint } = await (await this.#store).peek(this.name)
    return checkpoint?.position.order ?? null
  }

  /** What differs between the documents of the load and the tables; tables that are not there yet differ. */
  differences(): Promise<readonly string[]> {
    return documentDifferences(this.db, this.clickhouse.client, this.#collections).catch((error: Error) => [
      error.message,
    ])
  }

  /** Waits until documents and tables are equal. */
  async untilEqual(deadlineMs = 30_000): Promise<void> {
    let found: readonly string[] = []
    const equal = async (): Promise<boolean> => (found = await this.differences()).length === 0
    await this.run.until('documents and tables are equal', equal, deadlineMs).catch((error: unknown) => {
      throw new Error(`${found.slice(0, 10).join('\n')}\n${(error as Error).message}`, { cause: error })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const run of this.#runs) run.kill()
    await Promise.all(this.#runs.map(({ done }) => done))
    await (await this.#store)?.close()
    await this.sinkLink[Symbol.asyncDispose]()
    await this.clickhouse[Symbol.asyncDispose]()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
