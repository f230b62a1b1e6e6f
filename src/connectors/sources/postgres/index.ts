import { defineSource } from '../../../core/registry.ts'
import { PostgresConfig } from './config.ts'

export const postgres = defineSource({
  type: 'postgres',
  summary: 'PostgreSQL 13 and later, logical replication (pgoutput)',
  config: PostgresConfig,
  async load() {
    const { PostgresSource } = await import('./source.ts')
    return (config: PostgresConfig) => new PostgresSource(config)
  },
})
