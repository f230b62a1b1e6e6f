import { defineSink } from '../../../core/registry.ts'
import { ZeroConfig } from './config.ts'

export const zero = defineSink({
  type: 'zero',
  summary: 'Rocicorp Zero: a custom change source over WebSocket, from a durable change log of its own',
  config: ZeroConfig,
  async load() {
    const { ZeroWebSocketSink } = await import('./sink.ts')
    return (config) => new ZeroWebSocketSink(config)
  },
})
