import { describeSink } from '../../src/testkit/index.ts'
import { memorySinkHarness } from './memory-sink.harness.ts'

describeSink('memory', memorySinkHarness())
