import { describeSource } from '../../src/testkit/source/describe.ts'
import { memoryHarness } from './memory-source.harness.ts'

describeSource('memory', memoryHarness)
