import { defineSink } from '../../../core/registry.ts'
import { ClickHouseConfig } from './config.ts'

export const clickhouse = defineSink({
  type: 'clickhouse',
  summary:
    'ClickHouse 23.5 or newer, over HTTP: one ReplacingMergeTree per table, with a view of the current rows',
  config: ClickHouseConfig,
  async load() {
    const { ClickHouseSink } = await import('./sink.ts')
    return (config) => new ClickHouseSink(config)
  },
})
