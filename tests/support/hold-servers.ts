// Starts both servers, prints their process ids as one line of JSON, and stays until it is killed.
import { startClickHouse } from '../../src/cli/demo/servers/clickhouse.ts'
import { startPostgres } from '../../src/cli/demo/servers/postgres.ts'

const [postgres, clickhouse] = await Promise.all([startPostgres(), startClickHouse()])
const servers = [postgres, clickhouse].map(({ pid, dir }) => ({ pid, dir }))
console.log(JSON.stringify(servers))
process.stdin.resume()
