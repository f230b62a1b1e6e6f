/** The same as the YAML file beside it; the compiler checks the options. In a project of your own import 'sluice'. */
import { defineConfig } from '../src/index.ts'

// oxlint-disable-next-line import/no-default-export -- A config file is read by its default export.
export default defineConfig({
  name: 'shop',
  source: { type: 'postgres', url: '${PG_URL}' },
  tables: ['public.*', '!public.audit_log'],
  sinks: {
    lake: {
      type: 'clickhouse',
      url: '${CLICKHOUSE_URL:http://localhost:8123}',
      database: '${CLICKHOUSE_DATABASE:shop}',
      createDatabase: true,
      username: '${CLICKHOUSE_USER:default}',
      flushInterval: '1s',
    },
  },
})
