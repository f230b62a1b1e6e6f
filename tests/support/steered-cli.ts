import { type ChildProcess, spawn } from 'node:child_process'
import { resolve } from 'node:path'
import type { Failpoint } from '../../src/core/failpoint.ts'
import type { Hold, Order, Report, Start } from './steered-child.ts'
import { waitFor } from './wait-for.ts'

const entry = resolve(import.meta.dirname, 'steered-child.ts')

/** A line of the log, which the config must ask for as JSON. */
export interface LogLine {
  readonly level: string
  readonly message: string
  readonly code?: string
}

/** The end of a process. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A run of the command line in a process of its own, which can be held at failpoints and given a false clock. */
export class SteeredCli {
  readonly child: ChildProcess
  /** Resolves when the process is gone. */
  readonly done: Promise<Exit>
  /** How it ended; null while it runs. */
  exit: Exit | null = null
  /** Where it is held. */
  held: Failpoint | null = null
  readonly log: LogLine[] = []
  #stderr = ''
  #unfinished = ''
  readonly #answers: (() => void)[] = []

  constructor(args: readonly string[], start: Partial<Start> = {}) {
    const begin: Start = { hold: null, aheadMs: 0, ...start }
    this.child = spawn(process.execPath, [entry, JSON.stringify(begin), ...args], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.child.on('message', (report: Report) => {
      if (report.kind === 'held') this.held = report.point
      else this.#answers.shift()?.()
    })
    this.child.stderr!.on('data', (chunk: Buffer) => this.#read(chunk.toString()))
    this.done = new Promise((resolveDone, reject) => {
      this.child.once('error', reject)
      this.child.once('close', (code, signal) => {
        this.exit = { code, signal }
        resolveDone(this.exit)
      })
    })
  }

  get pid(): number {
    return this.child.pid!
  }

  /** The end of what it wrote to standard error. */
  get lastWords(): string {
    return this.#stderr.slice(-4000)
  }

  /** Codes of errors that were logged since line `from` of the log. */
  codes(from = 0): readonly string[] {
    return this.log.slice(from).flatMap(({ code }) => (code === undefined ? [] : [code]))
  }

  /** Holds it at a failpoint, see `held`. */
  hold(hold: Hold): Promise<void> {
    return this.#tell({ kind: 'hold', hold })
  }

  /** Lets it go on from where it is held. */
  go(): Promise<void> {
    this.held = null
    return this.#tell({ kind: 'go' })
  }

  /** Sets its clock ahead, or behind when negative. */
  setClock(aheadMs: number): Promise<void> {
    return this.#tell({ kind: 'clock', aheadMs })
  }

  /** Waits for a condition; fails with its log when it ends instead. */
  async until(what: string, holds: () => boolean | Promise<boolean>, deadlineMs?: number): Promise<void> {
    const watched = async (): Promise<boolean> => {
      if (this.exit !== null) throw new Error(`it ended (${JSON.stringify(this.exit)}) before ${what}`)
      return holds()
    }
    try {
      await waitFor(what, watched, deadlineMs)
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.lastWords}`, { cause: error })
    }
  }

  async kill(): Promise<Exit> {
    this.child.kill('SIGKILL')
    return this.done
  }

  /** SIGTERM, and its end. */
  async stop(): Promise<Exit> {
    this.child.kill('SIGTERM')
    return this.done
  }

  #tell(order: Order): Promise<void> {
    return new Promise((resolveTold, reject) => {
      this.#answers.push(resolveTold)
      this.child.send(order, (error) => (error === null ? undefined : reject(error)))
    })
  }

  #read(text: string): void {
    this.#stderr += text
    const lines = (this.#unfinished + text).split('\n')
    this.#unfinished = lines.pop()!
    for (const line of lines) if (line.startsWith('{')) this.log.push(JSON.parse(line) as LogLine)
  }
}
