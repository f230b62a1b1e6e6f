/**
 * Child process of the tests: a zero-cache, whole or, with `SINGLE_PROCESS=1`, in this process alone, which starts in a
 * third of the time. It ends with whoever started it.
 */
import { EventEmitter } from 'node:events'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { processTree, signalAll } from './process-tree.ts'

// Standard input ends when the process that started this one is gone; zero-cache's own processes would stay.
process.stdin.on('end', () => signalAll([...processTree(process.pid)].reverse(), 'SIGKILL'))
process.stdin.resume()

// The folder of another version of the package, to see that it works with that too.
const other = process.env['SLUICE_ZERO_CACHE']
const out =
  other === undefined
    ? new URL('../../', import.meta.resolve('@rocicorp/zero'))
    : pathToFileURL(`${resolve(other, 'out')}/`)

if (process.env['SINGLE_PROCESS'] === undefined) await import(new URL('zero/src/cli.js', out).href)
else {
  const runner = (await import(new URL('zero-cache/src/server/runner/run-worker.js', out).href)) as {
    runWorker(parent: null, env: NodeJS.ProcessEnv): Promise<void>
  }
  endWithItsParts()
  await runner.runWorker(null, process.env)
}

/** Inside one process, each part of zero-cache announces its exit as an event of a plain emitter, and nothing ends. */
function endWithItsParts(): void {
  process.once('SIGTERM', () => process.exit(0))
  const emit = EventEmitter.prototype.emit
  EventEmitter.prototype.emit = function (name, ...values: unknown[]) {
    if (name === 'exit' && this.constructor === EventEmitter) process.exit(values[0] as number)
    return emit.call(this, name, ...values)
  }
}
