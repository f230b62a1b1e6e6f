import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** What to run, and how the guard ends it when this process is gone. */
export interface ServerCommand {
  readonly command: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  /** Both output streams are appended to this file: a pipe would block the server while this process is busy. */
  readonly logFile: string
  /** The user to run as; only root may choose. */
  readonly owner: Owner | null
  /** What the guard sends when this process dies. */
  readonly orphanSignal: 'INT' | 'KILL'
  /** A temporary folder that goes with the server when this process dies; null keeps everything. */
  readonly orphanFolder: string | null
}

/** A user and a group of the operating system. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

// Waits for a line or the end of its stdin. A line is the order to stand down. The end means that the starting process
// died, even by SIGKILL, where no handler of its own could have run.
const guardScript = `
read -r _ && exit 0
kill -s "$2" "$1" 2>/dev/null
n=0
while kill -0 "$1" 2>/dev/null && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
kill -s KILL "$1" 2>/dev/null
[ -z "$3" ] || rm -rf -- "$3"
`

/**
 * One child process that never outlives this process, however that ends. It runs in a session of its own, so that
 * Ctrl-C in a terminal reaches only this process, which can then end things in order.
 */
export class ServerProcess {
  readonly #child: ChildProcess
  readonly #exited: Promise<void>
  readonly #logFile: string
  readonly #logStart: number

  constructor(options: ServerCommand) {
    const log = openSync(options.logFile, 'a')
    this.#logFile = options.logFile
    this.#logStart = fstatSync(log).size
    // The pipe on stdin stays open as long as this process lives; a server may wait for its end.
    const stdio: StdioOptions = ['pipe', log, log]
    const { cwd, env } = options
    this.#child = spawn(options.command, options.args, { cwd, env, stdio, detached: true, ...options.owner })
    closeSync(log)
    const guard = this.#child.pid === undefined ? null : guardOf(this.#child.pid, options)
    this.#exited = once(this.#child, 'exit').then(
      () => void guard?.stdin?.end('stand down\n'),
      () => {},
    )
    this.#child.stdin?.on('error', () => {})
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get running(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Resolves when the process is gone. */
  get exited(): Promise<void> {
    return this.#exited
  }

  /** The last lines that this process has logged, for error messages. */
  lastWords(lines = 20): string {
    const log = readFileSync(this.#logFile).subarray(this.#logStart).toString()
    return log.trimEnd().split('\n').slice(-lines).join('\n')
  }

  /** Lets this process end by itself although the server still runs. */
  unref(): void {
    this.#child.unref()
    const stdin = this.#child.stdin as { unref?: () => void } | null
    stdin?.unref?.()
  }

  /** Sends a signal and waits until the process is gone; false when it is not within the deadline. */
  async end(signal: NodeJS.Signals, deadlineMs: number): Promise<boolean> {
    if (!this.running) return true
    this.#child.ref()
    this.#child.kill(signal)
    const timer = new AbortController()
    await Promise.race([this.#exited, delay(deadlineMs, null, { signal: timer.signal }).catch(() => {})])
    timer.abort()
    return !this.running
  }
}

function guardOf(pid: number, options: ServerCommand): ChildProcess {
  const args = ['-c', guardScript, 'guard', String(pid), options.orphanSignal, options.orphanFolder ?? '']
  const guard = spawn('/bin/sh', args, { cwd: '/', stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  guard.on('error', () => {})
  guard.stdin?.on('error', () => {})
  guard.unref()
  const stdin = guard.stdin as { unref?: () => void } | null
  stdin?.unref?.()
  return guard
}

/**
 * Asks until the answer is true, the process has ended, or the deadline is over.
 *
 * @returns how it went; the caller knows best what to say about it.
 */
export async function untilReady(
  process: ServerProcess,
  deadlineMs: number,
  isReady: () => Promise<boolean>,
): Promise<'ready' | 'ended' | 'late'> {
  const deadline = performance.now() + deadlineMs
  while (process.running) {
    if (await isReady()) return 'ready'
    if (performance.now() > deadline) return 'late'
    await delay(20)
  }
  return 'ended'
}

/** A port of the loopback interface that was free a moment ago; callers try again when they lose the race for it. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('No free port could be found.')
  return address.port
}

/**
 * A free port whose `neighbours` next ones are free too, below those that the system gives to outgoing connections: a
 * server that is down for a while gets it back.
 */
export async function lastingPort(neighbours = 0): Promise<number> {
  for (;;) {
    const first = randomInt(10_000, 31_000)
    const ports = Array.from({ length: neighbours + 1 }, (_, at) => first + at)
    if ((await Promise.all(ports.map(isPortFree))).every(Boolean)) return first
  }
}

/** Whether somebody listens on a port of the loopback interface; unlike `isPortFree` it does not take the port itself. */
export function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}

/** Whether nobody listens on a port of the loopback interface. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
