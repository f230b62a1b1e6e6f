/**
 * Loaded into the process of the pipeline (`node --import`): says every second how much memory it takes, and now and then
 * how much of that is alive, for which it has to collect the garbage.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { isMainThread } from 'node:worker_threads'

/** Collections this far apart change little: the process makes its own garbage in between. */
const SECONDS_BETWEEN_COLLECTIONS = 10

/** A line on standard output. */
export interface MemoryLine {
  readonly event: 'memory'
  /** Resident. */
  readonly rssMb: number
  /** Objects and buffers that were alive at the last collection. */
  readonly liveMb: number
}

const megabytes = (bytes: number): number => Math.round(bytes / 2 ** 20)

if (isMainThread) {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  let seconds = 0
  let liveMb = 0
  setInterval(() => {
    const rssMb = megabytes(process.memoryUsage.rss())
    if (seconds++ % SECONDS_BETWEEN_COLLECTIONS === 0) {
      collect()
      const { heapUsed, arrayBuffers } = process.memoryUsage()
      liveMb = megabytes(heapUsed + arrayBuffers)
    }
    const line: MemoryLine = { event: 'memory', rssMb, liveMb }
    process.stdout.write(`${JSON.stringify(line)}\n`)
  }, 1000).unref()
}
