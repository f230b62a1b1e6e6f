// The process of the demo's ClickHouse server: `node clickhouse-child.ts <clickhouse-local arguments>`. The engine inside
// libchdb contains the real HTTP server. It runs in a thread of the engine's own until stdin ends.
import { DataType, load, open } from 'ffi-rs'

import { libchdbPath } from 'chdb/libchdb'

open({ library: 'chdb', path: libchdbPath() })
const args = ['clickhouse', ...process.argv.slice(2)]
const done = load({
  library: 'chdb',
  // The command-line entry: only that one can open a listener.
  funcName: 'chdb_query_cmdline',
  retType: DataType.External,
  paramsType: [DataType.I32, DataType.StringArray],
  paramsValue: [args.length, args],
  runInNewThread: true,
})
await done
process.exit(0)
