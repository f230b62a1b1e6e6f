/** The process that replicates: the real command line, run on a real config file. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { CoreError } from '../../core/error.ts'
import type { PipelineStatus } from '../../runtime/telemetry.ts'

export interface ReplicatorOptions {
  readonly config: string
  /** Its log lines go here. */
  readonly log: string
  /** It ended although nobody asked it to. */
  onFailure(error: CoreError): void
}

/** The last event of a process that failed, see `sluice run --json`. */
interface ErrorEvent {
  readonly code: string
  readonly message: string
  readonly fix?: string
}

const STOP_DEADLINE_MS = 30_000

// `.ts` in the repository, `.js` in the package.
const main = fileURLToPath(new URL(`../main${extname(import.meta.url)}`, import.meta.url))

export class Replicator implements AsyncDisposable {
  readonly #options: ReplicatorOptions
  #child: ChildProcess | null = null
  #status: PipelineStatus | null = null
  #error: ErrorEvent | null = null
  #isEnding = false
  #earlier = { rows: 0, changes: 0 }

  constructor(options: ReplicatorOptions) {
    this.#options = options
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  get isRunning(): boolean {
    const child = this.#child
    return child?.pid !== undefined && child.exitCode === null && child.signalCode === null
  }

  /** What the process said last; null before its first word. */
  get status(): PipelineStatus | null {
    return this.#status
  }

  /** The first copy is complete, as far as this process knows: one that was started after it never sees one. */
  get isStreaming(): boolean {
    const status = this.#status
    if (status?.phase !== 'streaming') return false
    return status.copy === null || status.copy.tablesDone >= status.copy.tablesTotal
  }

  /** Over all processes. */
  get rowsCopied(): number {
    return this.#earlier.rows + (this.#status?.rowsCopied ?? 0)
  }

  /** Read from the log over all processes: what is read again after a kill counts twice. */
  get changes(): number {
    return this.#earlier.changes + (this.#status?.changes ?? 0)
  }

  start(): void {
    const log = openSync(this.#options.log, 'a')
    // In a session of its own: Ctrl-C in a terminal is for the demo, which ends it in order.
    const child = spawn(process.execPath, [main, 'run', this.#options.config, '--json'], {
      stdio: ['ignore', 'pipe', log],
      detached: true,
    })
    closeSync(log)
    this.#child = child
    this.#isEnding = false
    createInterface({ input: child.stdout! }).on('line', (line) => this.#hear(line))
    child.once('error', (error) => this.#fail(`could not be started: ${error.message}`))
    // `close` comes after the last line of output.
    child.once('close', (code, signal) => {
      if (!this.#isEnding) this.#fail(`ended with ${signal ?? `exit code ${code}`}`)
    })
  }

  /** SIGKILL: the process has no chance to do anything about it. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL', STOP_DEADLINE_MS)
    this.#earlier = { rows: this.rowsCopied, changes: this.changes }
    this.#status = null
  }

  /** SIGTERM: it writes what it has read, and ends. */
  async stop(): Promise<void> {
    if (!(await this.#end('SIGTERM', STOP_DEADLINE_MS))) await this.#end('SIGKILL', STOP_DEADLINE_MS)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end('SIGKILL', STOP_DEADLINE_MS)
  }

  async #end(signal: NodeJS.Signals, deadlineMs: number): Promise<boolean> {
    const child = this.#child
    this.#isEnding = true
    if (child === null || !this.isRunning) return true
    const closed = once(child, 'close').then(() => true)
    child.kill(signal)
    const timer = new AbortController()
    const late = delay(deadlineMs, false, { signal: timer.signal }).catch(() => false)
    try {
      return await Promise.race([closed, late])
    } finally {
      timer.abort()
    }
  }

  #hear(line: string): void {
    if (!line.startsWith('{')) return
    const { event, ...rest } = JSON.parse(line) as { event: string }
    if (event === 'status') this.#status = rest as unknown as PipelineStatus
    if (event === 'error') this.#error = rest as unknown as ErrorEvent
  }

  #fail(how: string): void {
    const { log, onFailure } = this.#options
    const error = this.#error
    const reason = error === null ? `Its last words:\n${lastLines(log)}` : `${error.message} (${error.code})`
    const fix = error?.fix ?? 'Please report this with what it said.'
    onFailure(new CoreError('demo/replicator-ended', `the replicating process ${how}. ${reason}`, { fix }))
  }
}

function lastLines(file: string): string {
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-20).join('\n')
}
