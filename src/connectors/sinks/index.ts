/** The sinks that come with Sluice: one line each, of light modules (the driver comes with `load`). */
export { clickhouse } from './clickhouse/index.ts'
export { memory } from './memory/index.ts'
export { zero } from './zero/index.ts'
