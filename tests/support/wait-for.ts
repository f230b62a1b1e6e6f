export { waitFor } from '../../src/testkit/wait-for.ts'
