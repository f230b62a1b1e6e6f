import { randomUUID } from 'node:crypto'
import {
  type CustomMutatorDefs,
  type MutatorResult,
  type Schema,
  type UpdateNeededReason,
  Zero,
} from '@rocicorp/zero'
import { waitFor } from './wait-for.ts'

/** A row as an application sees it. */
export type ZeroRow = Readonly<Record<string, unknown>>

export interface ZeroClientOptions {
  /** Of zero-cache. */
  readonly url: string
  /** With `enableLegacyQueries`: the tests query tables by name. */
  readonly schema: Schema
  readonly mutators?: CustomMutatorDefs
}

interface Table {
  rows: readonly ZeroRow[]
  isComplete: boolean
  readonly watchers: Set<(rows: readonly ZeroRow[]) => void>
}

interface View {
  addListener(listener: (rows: readonly ZeroRow[], result: string) => void): () => void
  destroy(): void
}

/** A real Zero client with a memory store of its own, which follows all tables of its schema. */
export class ZeroClient implements AsyncDisposable {
  /** Reasons with which it was told to reload. */
  readonly updatesNeeded: UpdateNeededReason[] = []
  /** How often it was told that its state is lost. */
  statesLost = 0
  /** What it logged as warning or error. */
  readonly complaints: string[] = []
  readonly #zero: Zero<Schema, CustomMutatorDefs>
  readonly #tables = new Map<string, Table>()
  readonly #views: View[] = []

  constructor({ url, schema, mutators }: ZeroClientOptions) {
    this.#zero = new Zero<Schema, CustomMutatorDefs>({
      cacheURL: url,
      // Stores in memory are shared by clients of one user in the process.
      userID: randomUUID(),
      schema,
      kvStore: 'mem',
      logLevel: 'error',
      logSink: {
        log: (level, _context, ...what) => {
          if (level === 'error' || level === 'warn') this.complaints.push(what.map(String).join(' '))
        },
      },
      onUpdateNeeded: (reason) => void this.updatesNeeded.push(reason),
      onClientStateNotFound: () => void this.statesLost++,
      ...(mutators === undefined ? {} : { mutators }),
    })
    for (const name of Object.keys(schema.tables)) this.#follow(name)
  }

  /** Rows of a table as the client has them now. */
  rows(table: string): readonly ZeroRow[] {
    return this.#table(table).rows
  }

  /** True when the server has said that the rows of the table are all. */
  isComplete(table: string): boolean {
    return this.#table(table).isComplete
  }

  /** Calls back with each state of a table that the application would see. */
  watch(table: string, seen: (rows: readonly ZeroRow[]) => void): void {
    this.#table(table).watchers.add(seen)
  }

  /** Calls a custom mutator. */
  mutate(name: string, args: unknown): MutatorResult {
    const mutator = (this.#zero.mutate as unknown as Record<string, (args: unknown) => MutatorResult>)[name]
    if (mutator === undefined) throw new Error(`no mutator ${name}`)
    return mutator(args)
  }

  /** Waits until all tables have all their rows. */
  async complete(deadlineMs = 30_000): Promise<void> {
    await this.until(
      'the client has all rows',
      () => [...this.#tables.values()].every((table) => table.isComplete),
      deadlineMs,
    )
  }

  /** Waits for a condition; fails with what the client has. */
  async until(what: string, holds: () => boolean | Promise<boolean>, deadlineMs?: number): Promise<void> {
    try {
      await waitFor(what, holds, deadlineMs)
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.#state()}`, { cause: error })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const view of this.#views) view.destroy()
    await this.#zero.close()
  }

  #follow(name: string): void {
    const table: Table = { rows: [], isComplete: false, watchers: new Set() }
    this.#tables.set(name, table)
    const query = (this.#zero.query as unknown as Record<string, never>)[name]!
    const view = this.#zero.materialize(query) as unknown as View
    this.#views.push(view)
    view.addListener((rows, result) => {
      // The view changes its rows in place.
      table.rows = structuredClone(rows) as readonly ZeroRow[]
      table.isComplete = result === 'complete'
      for (const seen of table.watchers) seen(table.rows)
    })
  }

  #table(name: string): Table {
    const table = this.#tables.get(name)
    if (table === undefined) throw new Error(`${name} is not in the client's schema`)
    return table
  }

  #state(): string {
    const tables = [...this.#tables].map(
      ([name, { rows, isComplete }]) =>
        `${name}: ${rows.length} rows${isComplete ? '' : ' (not complete)'} ${JSON.stringify(rows.slice(0, 5))}`,
    )
    return [
      `client ${JSON.stringify(this.#zero.connection.state.current)}`,
      ...tables,
      ...this.updatesNeeded.map((reason) => `update needed: ${JSON.stringify(reason)}`),
      ...this.complaints.slice(-5),
    ].join('\n')
  }
}
