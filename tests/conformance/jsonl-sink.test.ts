import { describeSink } from '../../src/testkit/index.ts'
import { jsonlSinkHarness } from './jsonl-sink.harness.ts'

describeSink('jsonl', jsonlSinkHarness)
