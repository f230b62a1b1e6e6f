import { defineSink } from '../../../core/registry.ts'
import { MemoryConfig } from './config.ts'

export const memory = defineSink({
  type: 'memory',
  summary: 'Tables in this process, for tests and as the smallest example of a sink',
  config: MemoryConfig,
  async load() {
    const { MemorySink } = await import('./sink.ts')
    return (config: MemoryConfig) => new MemorySink(config)
  },
})
