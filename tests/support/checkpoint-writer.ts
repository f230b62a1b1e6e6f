/** Child process of the checkpoint tests: takes the lease of a pipeline and saves 1, 2, 3 ... until it is killed. */
import { thisProcess } from '../../src/runtime/checkpoint/owner.ts'
import { SqliteCheckpointStore } from '../../src/runtime/checkpoint/sqlite.ts'

const store = new SqliteCheckpointStore(process.argv[2]!)
const lease = await store.acquire('p', thisProcess())
for (let number = 1; ; number++) {
  const order = String(number).padStart(8, '0')
  await store.save(lease, { position: { order, resume: number }, source: 'memory', sinks: ['a'] })
  process.stdout.write(`${number}\n`)
}
