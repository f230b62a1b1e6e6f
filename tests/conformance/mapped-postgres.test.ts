import { describeSource } from '../../src/testkit/source/describe.ts'
import { mapped } from './mapped.harness.ts'
import { postgresHarness } from './postgres.harness.ts'

describeSource('postgres, mapped', mapped(postgresHarness))
