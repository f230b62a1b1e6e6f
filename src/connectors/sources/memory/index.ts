import { defineSource } from '../../../core/registry.ts'
import { MemoryConfig } from './config.ts'

export const memory = defineSource({
  type: 'memory',
  summary: 'Tables in this process, for tests and as the smallest example of a source',
  config: MemoryConfig,
  async load() {
    const { MemorySource } = await import('./source.ts')
    return (config: MemoryConfig) => new MemorySource(config)
  },
})
