import { describeSource } from '../../src/testkit/source/describe.ts'
import { postgresHarness } from './postgres.harness.ts'

describeSource('postgres', postgresHarness)
