/**
 * Runs the MongoDB tests against a real replica set: `npm run test:mongodb`. Starts one in Docker (`docs/mongodb-compose.yaml`,
 * `MONGO_VERSION` chooses the server) and stops it afterwards, unless `SLUICE_TEST_MONGODB_URL` names one.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../', import.meta.url))
const given = process.env['SLUICE_TEST_MONGODB_URL']
const url = given ?? 'mongodb://127.0.0.1:27117/?replicaSet=rs0&directConnection=true'

/** Exit code; null when the program is not there. */
function run(command: string, args: readonly string[]): number | null {
  const env = { ...process.env, SLUICE_TEST_MONGODB_URL: url }
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env })
  return error === undefined ? (status ?? 1) : null
}

function compose(...args: readonly string[]): number | null {
  return run('docker', ['compose', '-f', 'docs/mongodb-compose.yaml', ...args])
}

function test(): number {
  const paths = ['tests/integration/mongodb', 'tests/conformance/mongodb', 'tests/chaos/mongodb']
  return run('npx', ['vitest', 'run', '--project', 'integration', ...paths]) ?? 1
}

if (given !== undefined) process.exitCode = test()
else if (compose('version') !== 0) {
  process.stderr.write(
    'Docker with its compose plugin is not here: install it, or set SLUICE_TEST_MONGODB_URL to a replica set for tests\n',
  )
  process.exitCode = 1
} else {
  process.exitCode = compose('up', '--wait') === 0 ? test() : 1
  compose('down')
}
