import type { TestProject } from 'vitest/node'

import { sharedClickHouse, sharedPostgres } from './servers.ts'

/** Starts the servers that all integration tests share, once per run. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const [postgres, clickhouse] = await Promise.all([sharedPostgres(), sharedClickHouse()])
  project.provide('postgres', postgres.shared)
  project.provide('clickhouse', clickhouse.shared)
  return async () => {
    await Promise.all([postgres.stop(), clickhouse.stop()])
  }
}
