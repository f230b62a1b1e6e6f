import pg from 'pg'
import { PostgresSource } from '../../../src/connectors/sources/postgres/source.ts'
import { Secret } from '../../../src/core/secret.ts'
import { MemoryCheckpointStore } from '../../../src/runtime/checkpoint/memory.ts'
import type { PipelineDefinition, RunOptions } from '../../../src/runtime/definition.ts'
import { runPipeline } from '../../../src/runtime/pipeline.ts'
import { type TestPostgres, testPostgres } from '../postgres.ts'
import type { ScriptedTransaction } from './history.ts'
import { type Model, type State, without } from './model.ts'
import type { Bench } from './play.ts'
import { commit, PostgresSql } from './postgres-sql.ts'

/** Keeps the publication from being empty; no part of histories. */
const anchor = 'anchor'

/** What is behind the pipeline of a `PostgresBench`. */
export interface Targets extends AsyncDisposable {
  readonly sinks: PipelineDefinition['sinks']
  states(model: Model): Promise<Readonly<Record<string, State>>>
}

/** A Postgres database of its own, read in small pieces, and any sinks. */
export class PostgresBench implements Bench {
  readonly quietMs = 100
  readonly afterthoughtMs = 10_000
  readonly definition: PipelineDefinition
  readonly #postgres: TestPostgres
  readonly #client: pg.Client
  readonly #targets: Targets
  readonly #sql = new PostgresSql()

  private constructor(postgres: TestPostgres, client: pg.Client, targets: Targets) {
    this.#postgres = postgres
    this.#client = client
    this.#targets = targets
    const config = {
      url: new Secret(postgres.url),
      publication: 'history',
      copyWorkers: 2,
      catchUp: 'auto',
      catchUpThreshold: 4096,
      heartbeat: 20,
      schemaPoll: 50,
      lockTimeout: 20_000,
    } as const
    this.definition = {
      name: postgres.database,
      tables: ['public.*'],
      source: { type: 'postgres', create: () => new PostgresSource(config, { pagesPerRange: 1 }) },
      sinks: targets.sinks,
      store: new MemoryCheckpointStore(),
      limits: { checkpointIntervalMs: 20 },
    }
  }

  /** `targets` gets the name of the pipeline. */
  static async open(targets: (name: string) => Promise<Targets>): Promise<PostgresBench> {
    const postgres = await testPostgres('history')
    const client = new pg.Client({ connectionString: postgres.url })
    await client.connect()
    await client.query(`CREATE TABLE ${anchor} (id int4 PRIMARY KEY)`)
    await client.query('CREATE PUBLICATION history FOR TABLES IN SCHEMA public')
    return new PostgresBench(postgres, client, await targets(postgres.database))
  }

  run(definition: PipelineDefinition, options: RunOptions): Promise<unknown> {
    return runPipeline(definition, options)
  }

  commit(transaction: ScriptedTransaction): Promise<void> {
    return commit(this.#client, transaction, this.#sql)
  }

  source(model: Model): Promise<State> {
    return this.#sql.state(this.#client, model)
  }

  async targets(model: Model): Promise<Readonly<Record<string, State>>> {
    const states = Object.entries(await this.#targets.states(model))
    return Object.fromEntries(states.map(([sink, state]) => [sink, without(state, anchor)] as const))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.end()
    await this.#targets[Symbol.asyncDispose]()
    await this.#postgres[Symbol.asyncDispose]()
  }
}
