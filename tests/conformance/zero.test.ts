import { describeSink } from '../../src/testkit/index.ts'
import { zeroHarness } from './zero.harness.ts'

describeSink('zero', zeroHarness({ bigints: 'text' }))
