/** A Zero client that follows every row of the shop, as an application with all of it on the screen would. */
import { randomUUID } from 'node:crypto'
import type { Schema, Zero } from '@rocicorp/zero'

import type { ZeroColumn, ZeroTable } from './zero-columns.ts'
import type { ClientRow } from './zero-compare.ts'

interface Followed {
  rows: readonly ClientRow[]
  isComplete: boolean
  updates: number
  changedAt: number | null
}

interface View {
  addListener(listener: (rows: readonly ClientRow[], result: string) => void): () => void
  destroy(): void
}

/** The server does not know a column of the client's schema yet, or something else that the client needs. */
export class ClientRefused extends Error {}

export class ShopClient implements AsyncDisposable {
  readonly tables: readonly ZeroTable[]
  readonly #zero: Zero<Schema>
  readonly #followed = new Map<string, Followed>()
  readonly #views: View[] = []
  #refusal: ClientRefused | null = null

  private constructor(tables: readonly ZeroTable[], make: (hooks: Hooks) => Zero<Schema>) {
    this.tables = tables
    const refuse = (why: string): void => {
      this.#refusal = new ClientRefused(`the Zero client cannot go on: ${why}`)
    }
    this.#zero = make({
      onUpdateNeeded: ({ type, message }) => refuse(message ?? type),
      onClientStateNotFound: () => refuse('its state is not known any more'),
    })
    for (const { name } of tables) this.#follow(name)
  }

  /** Connects to a zero-cache; rows arrive as they come. */
  static async open(url: string, tables: readonly ZeroTable[]): Promise<ShopClient> {
    const zero = await import('@rocicorp/zero')
    const typeOf = ({ kind, nullable }: ZeroColumn) => {
      // Which of them does not matter to what TypeScript knows here.
      const type = zero[kind as 'json']()
      return nullable ? type.optional() : type
    }
    const schema = zero.createSchema({
      // Queries by name of the table: the sink's permissions allow them.
      enableLegacyQueries: true,
      tables: tables.map(({ name, columns, key }) =>
        zero
          .table(name)
          .columns(Object.fromEntries(columns.map((column) => [column.name, typeOf(column)])))
          .primaryKey(...(key as [string])),
      ),
    }) as Schema
    return new ShopClient(
      tables,
      (hooks) =>
        new zero.Zero<Schema>({
          cacheURL: url,
          schema,
          // Stores in memory are shared by the clients of one user in a process.
          userID: randomUUID(),
          kvStore: 'mem',
          logSink: { log: () => {} },
          ...hooks,
        }),
    )
  }

  /** Why it will not get any further; null while it is well. */
  get refusal(): ClientRefused | null {
    return this.#refusal
  }

  /** All rows of all tables are there. */
  get isComplete(): boolean {
    return [...this.#followed.values()].every((table) => table.isComplete)
  }

  /** Rows of a table as they are visible now. */
  rows(table: string): readonly ClientRow[] {
    return this.#followed.get(table)?.rows ?? []
  }

  /** How often a table has changed since it was complete, and when it did last, as `performance.now()` says it. */
  changes(table: string): { readonly updates: number; readonly at: number | null } {
    const { updates = 0, changedAt = null } = this.#followed.get(table) ?? {}
    return { updates, at: changedAt }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const view of this.#views) view.destroy()
    await this.#zero.close()
  }

  #follow(name: string): void {
    const table: Followed = { rows: [], isComplete: false, updates: 0, changedAt: null }
    this.#followed.set(name, table)
    const query = (this.#zero.query as unknown as Record<string, never>)[name]!
    const view = this.#zero.materialize(query) as unknown as View
    this.#views.push(view)
    view.addListener((rows, result) => {
      if (table.isComplete) {
        table.updates++
        table.changedAt = performance.now()
      }
      table.rows = rows
      table.isComplete = result === 'complete'
    })
  }
}

interface Hooks {
  onUpdateNeeded(reason: { readonly type: string; readonly message?: string }): void
  onClientStateNotFound(): void
}
