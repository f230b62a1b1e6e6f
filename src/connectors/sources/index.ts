/** The sources that come with Sluice: one line each, of light modules (the driver comes with `load`). */
export { memory } from './memory/index.ts'
export { mongodb } from './mongodb/index.ts'
export { postgres } from './postgres/index.ts'
