import { describeSource } from '../../src/testkit/source/describe.ts'
import { mapped } from './mapped.harness.ts'
import { memoryHarness } from './memory-source.harness.ts'

describeSource('memory, mapped', mapped(memoryHarness))
