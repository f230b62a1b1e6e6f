import { defineSource } from '../../../core/registry.ts'
import { MongodbConfig } from './config.ts'

export const mongodb = defineSource({
  type: 'mongodb',
  summary: 'MongoDB 6.0 and later, change streams of replica sets and sharded clusters',
  config: MongodbConfig,
  async load() {
    const { MongodbSource } = await import('./source.ts')
    return (config: MongodbConfig) => new MongodbSource(config)
  },
})
