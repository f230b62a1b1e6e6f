/**
 * Child process of the chaos tests: the command line with armed failpoints and a false clock, both steered over IPC.
 * The first argument is a `Start` as JSON, the others are those of the command line.
 */
import { enableCompileCache, flushCompileCache } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { armFailpoints, type Failpoint } from '../../src/core/failpoint.ts'

/** Where to be held: when the point is passed for the so-manieth time, counted from now. */
export interface Hold {
  readonly point: Failpoint
  readonly times: number
}

/** How the process begins. */
export interface Start {
  readonly hold: Hold | null
  /** How far the clock is ahead, in milliseconds. */
  readonly aheadMs: number
}

/** What the process is told; it answers `done`. */
export type Order =
  | { readonly kind: 'hold'; readonly hold: Hold }
  /** Goes on from where it is held. */
  | { readonly kind: 'go' }
  | { readonly kind: 'clock'; readonly aheadMs: number }

export type Report = { readonly kind: 'held'; readonly point: Failpoint } | { readonly kind: 'done' }

// These processes are started often, and most of them are killed before they could keep their cache by themselves.
enableCompileCache(join(tmpdir(), 'sluice-chaos-cache'))

const [first] = process.argv.splice(2, 1)
const start = JSON.parse(first!) as Start

let hold = start.hold
let passed = 0
let goOn = (): void => {}
let { aheadMs } = start

// A false clock: what asks for the time of day is fooled, as when somebody sets the clock of the host.
const timeOfDay = Date.now
Date.now = () => timeOfDay() + aheadMs

armFailpoints((point) => {
  if (hold?.point !== point || ++passed < hold.times) return
  hold = null
  return new Promise((resolve) => {
    goOn = resolve
    report({ kind: 'held', point })
  })
})

process.on('message', (order: Order) => {
  switch (order.kind) {
    case 'hold':
      hold = order.hold
      passed = 0
      break
    case 'go':
      goOn()
      break
    case 'clock':
      aheadMs = order.aheadMs
      break
  }
  report({ kind: 'done' })
  flushCompileCache()
})
// Nobody is left who could end this process.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
// The channel must not keep a pipeline alive that has ended.
process.channel!.unref()

await import('../../src/cli/main.ts')

function report(what: Report): void {
  process.send!(what)
}
