/** The data of the benchmarks: rows of about 100 bytes in small transactions. */
import type pg from 'pg'

export const ROWS_PER_TRANSACTION = 100

/** Inserts `rows` rows into `bench`, committed by the hundred, on the server itself. */
export async function loadRows(client: pg.Client, rows: number): Promise<void> {
  await client.query(`
    CREATE OR REPLACE PROCEDURE load_bench(total int8) LANGUAGE plpgsql AS $$
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
