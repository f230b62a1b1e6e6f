/** What the benchmarks share: their options, and a Postgres with a slot that all contenders read in turn. */
import { parseArgs } from 'node:util'
import pg from 'pg'
import { type PostgresServer, startPostgres } from '../src/cli/demo/servers/postgres.ts'

const ROWS_PER_TRANSACTION = 100

export interface BenchOptions {
  readonly rows: number
  readonly runs: number
  readonly json: boolean
}

/** Exits with code 2 when they are wrong. */
export function benchOptions(): BenchOptions {
  const { values } = parseArgs({
    options: {
      rows: { type: 'string', default: '1000000' },
      runs: { type: 'string', default: '3' },
      json: { type: 'boolean', default: false },
    },
  })
  return { rows: positive('--rows', values.rows), runs: positive('--runs', values.runs), json: values.json }
}

export function say(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** A number that was given as an option. Exits with code 2 when it is none. */
export function positive(option: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  say(`${option} must be a whole number above 0`)
  process.exit(2)
}

/** A table of rows of about 100 bytes in small transactions, and a slot from before the first. */
export class Workload implements AsyncDisposable {
  readonly server: PostgresServer
  readonly client: pg.Client
  /** The slot's position, the end of the WAL, and the cluster. */
  readonly from: string
  readonly head: string
  readonly system: string

  private constructor(
    server: PostgresServer,
    client: pg.Client,
    state: { confirmed: string; head: string; system: string },
  ) {
    this.server = server
    this.client = client
    this.from = state.confirmed
    this.head = state.head
    this.system = state.system
  }

  static async start(rows: number): Promise<Workload> {
    const server = await startPostgres({
      settings: { shared_buffers: '1GB', max_wal_size: '8GB', checkpoint_timeout: '1h' },
    })
    const client = new pg.Client({ connectionString: server.url })
    try {
      await client.connect()
      await client.query(`
        CREATE TABLE bench (id int8 PRIMARY KEY, n int4, name text, price numeric(12,2), ok bool, at timestamptz,
                            score float8, note text);
        CREATE PUBLICATION bench FOR TABLE bench`)
      await client.query(`SELECT pg_create_logical_replication_slot('bench_base', 'pgoutput')`)
      say(`loading ${rows} rows in transactions of ${ROWS_PER_TRANSACTION} ...`)
      await loadRows(client, rows)
      const { rows: state } = await client.query<{ confirmed: string; head: string; system: string }>(
        `SELECT confirmed_flush_lsn::text AS confirmed, pg_current_wal_flush_lsn()::text AS head,
                (SELECT system_identifier::text FROM pg_control_system()) AS system
         FROM pg_replication_slots WHERE slot_name = 'bench_base'`,
      )
      return new Workload(server, client, state[0]!)
    } catch (error) {
      await client.end()
      await server.stop()
      throw error
    }
  }

  /** Runs a contender on a fresh copy of the slot. */
  async onSlot<T>(slot: string, run: () => Promise<T>): Promise<T> {
    await this.client.query(`SELECT pg_copy_logical_replication_slot('bench_base', $1)`, [slot])
    const result = await run()
    await this.#dropSlot(slot)
    return result
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.end()
    await this.server.stop()
  }

  /** A walsender may hold the slot for a moment after its client has gone. */
  async #dropSlot(slot: string): Promise<void> {
    const deadline = Date.now() + 10_000
    for (;;) {
      try {
        await this.client.query('SELECT pg_drop_replication_slot($1)', [slot])
        return
      } catch (error) {
        if ((error as { code?: string }).code !== '55006' || Date.now() > deadline) throw error
        await this.client.query('SELECT pg_sleep(0.05)')
      }
    }
  }
}

/** Inserts `rows` rows into `bench`, committed by the hundred, on the server itself. */
async function loadRows(client: pg.Client, rows: number): Promise<void> {
  await client.query(`
    CREATE PROCEDURE load_bench(total int8) LANGUAGE plpgsql AS $$
    DECLARE start int8 := 1;
    BEGIN
      WHILE start <= total LOOP
        INSERT INTO bench
        SELECT i, (i % 1000000)::int4, 'customer ' || i, (i % 100000) / 100.0, i % 3 = 0,
               timestamptz '2024-01-01 00:00:00+00' + i * interval '1 second', i * 1.5, 'note for the row number ' || i
        FROM generate_series(start, least(start + ${ROWS_PER_TRANSACTION - 1}, total)) AS i;
        COMMIT;
        start := start + ${ROWS_PER_TRANSACTION};
      END LOOP;
    END $$`)
  await client.query('SET synchronous_commit = off')
  await client.query(`CALL load_bench(${rows})`)
  await client.query('SET synchronous_commit = on')
  // Flushes the WAL, so that a walsender may send all of it.
  await client.query('SELECT pg_switch_wal()')
}
