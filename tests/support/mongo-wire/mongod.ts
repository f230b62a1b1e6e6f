/** Stands in for a `mongod` of a replica set: takes its flags, and is the wire server on that port. */
import { parseArgs } from 'node:util'

import { Cluster } from './cluster.ts'

const { values } = parseArgs({
  strict: false,
  options: { port: { type: 'string' }, version: { type: 'boolean' }, replSet: { type: 'string' } },
})
if (values.version) process.stdout.write('db version v7.0.15\n')
else {
  const cluster = await Cluster.start({ port: Number(values.port) })
  process.once('SIGTERM', () => void cluster[Symbol.asyncDispose]().then(() => process.exit(0)))
}
