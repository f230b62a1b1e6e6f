import { type ChildProcess, spawn } from 'node:child_process'
import { resolve } from 'node:path'

const main = resolve(import.meta.dirname, '../../src/cli/main.ts')

/** A run of the command line in a process of its own. */
export interface CliRun {
  readonly child: ChildProcess
  /** Resolves when the process is gone. */
  readonly done: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>
  stdout(): string
  stderr(): string
}

/** `command` is the file of another installation of Sluice. */
export function startCli(args: readonly string[], env: NodeJS.ProcessEnv = {}, command = main): CliRun {
  const child = spawn(process.execPath, [command, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const done = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolveDone, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolveDone({ code, signal }))
  })
  return { child, done, stdout: () => stdout, stderr: () => stderr }
}
