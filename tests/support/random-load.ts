import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import type { Random } from '../../src/testkit/random.ts'

const KEYS = 400

/** Tables `load_0` ... with a key that the load changes too, and a large value that is stored out of line. */
export async function createLoadTables(client: pg.Client, count: number): Promise<readonly string[]> {
  const names = Array.from({ length: count }, (_, index) => `load_${index}`)
  for (const name of names) {
    await client.query(`
      CREATE TABLE ${name} (id int8 PRIMARY KEY, n int4, amount numeric(12,2), note text, at timestamptz, doc text, ok bool NOT NULL DEFAULT false);
      ALTER TABLE ${name} ALTER doc SET STORAGE EXTERNAL;
      INSERT INTO ${name} SELECT i, i, i / 7.0, 'row ' || i, now(), repeat('d', 3000), i % 2 = 0 FROM generate_series(0, ${KEYS - 1}, 2) i`)
  }
  return names
}

export interface LoadOptions {
  /** Share of statements that change a schema. */
  readonly schemaChanges: number
  /** Share of statements that empty a table. */
  readonly truncates: number
  /** Share of transactions with thousands of rows, or with a value of a megabyte. */
  readonly large: number
  /** Longest pause of a connection between two transactions, in milliseconds. */
  readonly pauseMs: number
  /** Connects again when the server goes away, as an application does; otherwise that is a failure. */
  readonly reconnects: boolean
}

const usual: LoadOptions = { schemaChanges: 0.02, truncates: 0.01, large: 0, pauseMs: 0, reconnects: false }

/** Keys of rows that large transactions make. */
const LARGE_KEYS = 100_000

/**
 * Random transactions on several connections at once, until stopped: inserts, updates with and without the large
 * value, deletes, key changes, truncates, now and then an added column; some transactions stay open for a while
 * across others' commits, some roll back. Large ones only when asked for.
 */
export class RandomLoad {
  readonly #url: string
  readonly #tables: readonly string[]
  readonly #random: Random
  readonly #options: LoadOptions
  #stopped = false
  #workers: Promise<void>[] = []
  #columns = 0
  #failure: Error | undefined
  /** Transactions that were committed. */
  commits = 0

  constructor(url: string, tables: readonly string[], random: Random, options: Partial<LoadOptions> = {}) {
    this.#url = url
    this.#tables = tables
    this.#random = random
    this.#options = { ...usual, ...options }
  }

  /** Begins, or begins again after a stop. */
  start(connections: number): void {
    this.#stopped = false
    this.#workers = Array.from({ length: connections }, () => this.#work())
  }

  /** Waits for the transactions under way; throws the first error that is no part of the load. */
  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#workers)
    if (this.#failure !== undefined) throw this.#failure
  }

  async #work(): Promise<void> {
    try {
      while (!this.#stopped) await this.#session()
    } catch (error) {
      this.#failure ??= error as Error
    }
  }

  /** Works on one connection until stopped, or until the connection is lost. */
  async #session(): Promise<void> {
    const client = new pg.Client({ connectionString: this.#url })
    // The query under way, or the next one, reports it.
    client.on('error', () => {})
    try {
      await client.connect()
      while (!this.#stopped) {
        await this.#transaction(client)
        if (this.#options.pauseMs > 0) await delay(this.#random.below(this.#options.pauseMs))
      }
    } catch (error) {
      if (!this.#options.reconnects || !isServerGone(error)) throw error
      await delay(50)
    } finally {
      await client.end().catch(() => {})
    }
  }

  async #transaction(client: pg.Client): Promise<void> {
    const random = this.#random
    try {
      await client.query('BEGIN')
      if (random.chance(this.#options.large)) await client.query(this.#largeStatement())
      const statements = random.chance(0.1) ? 40 : 1 + random.below(4)
      for (let index = 0; index < statements && !this.#stopped; index++) await client.query(this.#statement())
      if (random.chance(0.2)) await client.query(`SELECT pg_sleep(${random.next() / 5})`)
      const rollback = random.chance(0.1)
      await client.query(rollback ? 'ROLLBACK' : 'COMMIT')
      if (!rollback) this.commits++
    } catch (error) {
      // Deadlocks and key collisions are part of the load.
      if (!/^(40P01|23505|55P03)$/.test(String((error as { code?: string }).code))) throw error
      await client.query('ROLLBACK')
    }
  }

  #statement(): string {
    const random = this.#random
    const { schemaChanges, truncates } = this.#options
    const table = random.pick(this.#tables)
    const id = random.below(KEYS)
    const kind = random.next()
    if (kind > 1 - schemaChanges) {
      // Nobody waits for the lock for long: another worker may hold the table in an open transaction.
      return `SET LOCAL lock_timeout = '200ms'; ${this.#schemaChange(table)}`
    }
    if (kind > 1 - schemaChanges - truncates) return `TRUNCATE ${table}`
    if (kind < 0.3) {
      const doc = random.chance(0.5)
        ? `repeat('${random.pick(['x', 'ä', '\\t'])}', ${2500 + random.below(3000)})`
        : 'NULL'
      return `INSERT INTO ${table} (id, n, amount, note, at, doc) VALUES (${id}, ${random.below(1e6)}, ${random.below(1e9)} / 100.0, 'n${id}', clock_timestamp(), ${doc})
              ON CONFLICT (id) DO UPDATE SET n = excluded.n, doc = excluded.doc`
    }
    if (kind < 0.6)
      return `UPDATE ${table} SET n = n + 1, note = note || '.', at = clock_timestamp(), ok = NOT ok WHERE id = ${id}`
    if (kind < 0.7)
      return `UPDATE ${table} SET doc = repeat('u', ${2500 + random.below(500)}) WHERE id = ${id}`
    if (kind < 0.8) return `DELETE FROM ${table} WHERE id = ${id}`
    if (kind < 0.9) return `UPDATE ${table} SET id = ${random.below(KEYS * 2)} WHERE id = ${id}`
    return `UPDATE ${table} SET amount = amount + 1 WHERE id BETWEEN ${id} AND ${id + 20}`
  }

  /** Many rows at once, with keys of their own, or a large value. */
  #largeStatement(): string {
    const random = this.#random
    const table = random.pick(this.#tables)
    const rows = 2000 + random.below(15_000)
    const kind = random.below(4)
    if (kind === 0)
      return `INSERT INTO ${table} (id, n, amount, note, at) SELECT ${LARGE_KEYS} + i, i, i / 3.0, repeat('n', i % 500), now()
              FROM generate_series(1, ${rows}) i ON CONFLICT (id) DO UPDATE SET n = ${table}.n + 1, note = excluded.note`
    if (kind === 1) return `UPDATE ${table} SET n = n + 1, ok = NOT ok WHERE id > ${LARGE_KEYS}`
    if (kind === 2) return `DELETE FROM ${table} WHERE id > ${LARGE_KEYS + random.below(rows)}`
    return `INSERT INTO ${table} (id, n, doc) VALUES (${random.below(KEYS)}, 0, repeat('${random.pick(['m', 'ö'])}', ${500_000 + random.below(500_000)}))
            ON CONFLICT (id) DO UPDATE SET doc = excluded.doc`
  }

  /** Columns called `extra_...` come, change their names and types, and go. */
  #schemaChange(table: string): string {
    const random = this.#random
    const column = `extra_${++this.#columns}`
    const kind = random.below(8)
    if (kind < 2) return addColumn(table, `${column} int4 DEFAULT ${random.below(100)}`)
    if (kind === 2) return addColumn(table, `${column} text DEFAULT md5(random()::text)`)
    if (kind === 3) return addColumn(table, `${column} text`)
    if (kind === 4)
      return onExtraColumn(table, column, `'ALTER TABLE ${table} RENAME COLUMN %I TO ${column}'`)
    if (kind === 5) return onExtraColumn(table, column, `'ALTER TABLE ${table} DROP COLUMN %I'`)
    if (kind === 6)
      return onExtraColumn(
        table,
        column,
        `'ALTER TABLE ${table} ALTER COLUMN %I TYPE text USING ''was '' || %1$I'`,
      )
    return `ALTER TABLE ${table} ALTER COLUMN n TYPE ${random.pick(['int4', 'int8'])}`
  }
}

/** Adds a column unless the table has many already. */
function addColumn(table: string, definition: string): string {
  return `DO $$ BEGIN
    IF (SELECT count(*) FROM pg_attribute WHERE attrelid = '${table}'::regclass AND attname LIKE 'extra%' AND NOT attisdropped) < 12
    THEN ALTER TABLE ${table} ADD COLUMN ${definition}; END IF;
  END $$`
}

/** True when the connection is lost or cannot be made, as the server restarts. */
function isServerGone(error: unknown): boolean {
  const { code = '', message = '' } = error as { code?: string; message?: string }
  return (
    /^(57P0[123]|08...|ECONN.*|EPIPE)$/.test(code) ||
    /connection terminated|not queryable|connection error/i.test(message)
  )
}

/** Runs a statement on one of the extra columns, if there is one; `seed` chooses it. The lock keeps it from others. */
function onExtraColumn(table: string, seed: string, statement: string): string {
  return `DO $$ DECLARE name text; BEGIN
    LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE;
    SELECT attname INTO name FROM pg_attribute
    WHERE attrelid = '${table}'::regclass AND attname LIKE 'extra%' AND NOT attisdropped
    ORDER BY md5(attname || '${seed}') LIMIT 1;
    IF name IS NOT NULL THEN EXECUTE format(${statement}, name); END IF;
  END $$`
}
