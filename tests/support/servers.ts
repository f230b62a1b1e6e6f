import { inject } from 'vitest'

import { startClickHouse } from '../../src/cli/demo/servers/clickhouse.ts'
import { startPostgres } from '../../src/cli/demo/servers/postgres.ts'

declare module 'vitest' {
  interface ProvidedContext {
    postgres: SharedServer
    clickhouse: SharedServer
  }
}

/** Where a server of the test run is, or why there is none. */
export type SharedServer = { readonly url: string } | { readonly missing: string }

/** A started server, and how to end it. */
export interface StartedServer {
  readonly shared: SharedServer
  stop(): Promise<void>
}

/** The Postgres that all files of one test run share, or the one that `SLUICE_TEST_POSTGRES_URL` names. */
export function sharedPostgres(): Promise<StartedServer> {
  return started(process.env['SLUICE_TEST_POSTGRES_URL'], () =>
    // Every test file may keep a few slots.
    startPostgres({
      settings: { max_connections: '200', max_replication_slots: '60', max_wal_senders: '60' },
    }),
  )
}

/** The ClickHouse that all files of one test run share, or the one that `SLUICE_TEST_CLICKHOUSE_URL` names. */
export function sharedClickHouse(): Promise<StartedServer> {
  return started(process.env['SLUICE_TEST_CLICKHOUSE_URL'], () => startClickHouse())
}

/** The address of a shared server, inside a test. */
export function urlOf(name: 'postgres' | 'clickhouse'): string {
  const server = inject(name)
  if ('missing' in server) throw new Error(server.missing)
  return server.url
}

async function started(
  url: string | undefined,
  start: () => Promise<{ readonly url: string; stop(): Promise<void> }>,
): Promise<StartedServer> {
  if (url !== undefined) return { shared: { url }, stop: () => Promise.resolve() }
  try {
    const server = await start()
    return { shared: { url: server.url }, stop: () => server.stop() }
  } catch (error) {
    // The files that need this server fail with the reason; the others run.
    return { shared: { missing: String(error) }, stop: () => Promise.resolve() }
  }
}
