import { describeSink } from '../../src/testkit/index.ts'
import { urlOf } from '../support/servers.ts'
import { clickHouseHarness } from './clickhouse.harness.ts'

describeSink(
  'clickhouse',
  clickHouseHarness(() => urlOf('clickhouse')),
)
