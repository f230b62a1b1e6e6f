import type { Random } from './random.ts'
import { sql } from './postgres.ts'

/** Tables that `StepLoad` works on. */
export const STEP_TABLES = ['step_a', 'step_b'] as const

/**
 * A small load, one transaction after the other: inserts, updates that leave a large value as it is, key changes,
 * deletes, and schema changes when asked for. Every step uses a connection of its own, so that it survives anything.
 */
export class StepLoad {
  readonly #url: string
  readonly #random: Random
  #step = 0
  #columns = 0
  readonly #extra: string[] = []

  constructor(url: string, random: Random) {
    this.#url = url
    this.#random = random
  }

  /** Makes the tables, with some rows. */
  async prepare(): Promise<void> {
    for (const table of STEP_TABLES) {
      await sql(
        this.#url,
        `CREATE TABLE ${table} (id int8 PRIMARY KEY, n int4, amount numeric(12,2), at timestamptz, doc text);
         ALTER TABLE ${table} ALTER doc SET STORAGE EXTERNAL;
         INSERT INTO ${table} SELECT -i, i, i / 7.0, now(), repeat('d', 3000) FROM generate_series(1, 100) i`,
      )
    }
  }

  /** One transaction on both tables. Its first row is the mark by which equality cannot be too early. */
  async step(): Promise<void> {
    const step = ++this.#step
    const random = this.#random
    const statements = STEP_TABLES.map((table) => {
      const one = step - random.below(8)
      return `INSERT INTO ${table} (id, n, amount, at, doc) VALUES (${step}, ${random.below(1e6)}, ${random.below(1e9)} / 100.0, clock_timestamp(), repeat('${random.pick(['x', 'ä', '\\t'])}', ${random.below(4000)}));
        UPDATE ${table} SET n = n + 1 WHERE id BETWEEN ${one - 5} AND ${one} OR id = ${-1 - random.below(100)};
        UPDATE ${table} SET id = ${1_000_000 + step} WHERE id = ${one - 1};
        DELETE FROM ${table} WHERE id = ${random.pick([one, 1_000_000 + one])}`
    })
    await sql(this.#url, statements.join(';'))
  }

  /** A schema change of one table, then rows that show it. */
  async schemaStep(): Promise<void> {
    await sql(this.#url, this.#schemaChange(this.#random.pick(STEP_TABLES)))
    await this.step()
  }

  #schemaChange(table: string): string {
    const column = `extra_${++this.#columns}`
    const known = this.#extra.filter((one) => one.startsWith(`${table}.`)).map((one) => one.split('.')[1]!)
    const kind = known.length === 0 ? 0 : this.#random.below(5)
    const chosen = known.length === 0 ? '' : this.#random.pick(known)
    switch (kind) {
      case 0:
        this.#extra.push(`${table}.${column}`)
        return `ALTER TABLE ${table} ADD COLUMN ${column} int4 DEFAULT ${this.#columns}`
      case 1:
        this.#extra[this.#extra.indexOf(`${table}.${chosen}`)] = `${table}.${column}`
        return `ALTER TABLE ${table} RENAME COLUMN ${chosen} TO ${column}`
      case 2:
        this.#extra.splice(this.#extra.indexOf(`${table}.${chosen}`), 1)
        return `ALTER TABLE ${table} DROP COLUMN ${chosen}`
      case 3:
        return `ALTER TABLE ${table} ALTER COLUMN ${chosen} TYPE text USING 'was ' || ${chosen}`
      default:
        return `TRUNCATE ${table}; INSERT INTO ${table} (id, n) VALUES (-1, 1)`
    }
  }
}
